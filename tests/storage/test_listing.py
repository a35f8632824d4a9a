"""What a glob matches, on a disk as bash and Python have it, and the same in an object store."""

import glob
import io
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from apache_beam.io.filesystem import FileMetadata, FileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.storage.files import match_files
from transforms.storage.globs import escape, has_magic, matches_below, plain_path, split_glob, unescape
from transforms.storage.listing import NOT_UTF8, list_files

# A folder of trees is made for each example.
EXAMPLES = settings(max_examples=150)


class MemoryObjects(FileSystem):
    """An object store: names with slashes in them, and no folders."""

    names: ClassVar[dict[str, bytes]] = {}
    listed: ClassVar[list[str]] = []

    def __init__(self, pipeline_options=None):
        super().__init__(pipeline_options)

    @classmethod
    def scheme(cls):
        return "mem"

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        self.listed.append(dir_or_prefix)
        for name in sorted(self.names):
            if name.startswith(dir_or_prefix):
                yield FileMetadata(name, len(self.names[name]))

    def exists(self, path):
        return path in self.names

    def metadata(self, path):
        return FileMetadata(path, len(self.names[path]))

    def open(self, path, *_, **__):
        return io.BytesIO(self.names[path])

    def _unused(self, *_, **__):
        raise NotImplementedError

    join = split = mkdirs = create = copy = rename = size = last_updated = checksum = delete = _unused


@pytest.fixture
def objects(monkeypatch) -> type[MemoryObjects]:
    monkeypatch.setattr(MemoryObjects, "names", {})
    monkeypatch.setattr(MemoryObjects, "listed", [])
    return MemoryObjects


def paths(pattern: str | Path, **options) -> list[str]:
    listing = list_files(str(pattern), **options)
    assert listing.faults == []
    return sorted(path for path, _ in listing.files)


@pytest.fixture
def corpus(tmp_path) -> Path:
    """The folder of the issue that asked for this."""
    for name in ("D/top.wav", "D/sub/s1.wav", "real/r1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "D" / "link").symlink_to("../real")
    (tmp_path / "D" / "sub" / "gone.wav").symlink_to("/nowhere")
    return tmp_path / "D"


def test_links_are_followed_and_one_that_leads_nowhere_is_listed(corpus):
    listing = list_files(f"{corpus}/**")
    assert sorted(listing.files) == [
        (f"{corpus}/link/r1.wav", 5),
        (f"{corpus}/sub/gone.wav", 0),
        (f"{corpus}/sub/s1.wav", 5),
        (f"{corpus}/top.wav", 5),
    ]
    assert (listing.faults, listing.hidden) == ([], 0)
    assert paths(f"{corpus}/sub/gone.wav") == [f"{corpus}/sub/gone.wav"]


def test_circles_of_links_end(corpus):
    (corpus / "sub" / "up").symlink_to("..")
    (corpus / "self").symlink_to("self")
    (corpus.parent / "real" / "back").symlink_to(corpus)
    found = [path.removeprefix(f"{corpus}/") for path in paths(f"{corpus}/**")]
    assert found == ["link/r1.wav", "self", "sub/gone.wav", "sub/s1.wav", "top.wav"]


def test_two_stars_are_no_folder_too(corpus):
    names = ["link/r1.wav", "sub/gone.wav", "sub/s1.wav", "top.wav"]
    expected = [f"{corpus}/{name}" for name in names]
    for pattern in ("**", "**/*.wav", "**/**", "**/**/*", "**/*[1pe].wav"):
        assert paths(f"{corpus}/{pattern}") == expected, pattern
    assert paths(f"{corpus}/*/*.wav") == expected[:3]
    assert paths(f"{corpus}/*/") == expected[:3]  # as FOLDER/*
    assert paths(f"{corpus}/sub/s?.wav") == [f"{corpus}/sub/s1.wav"]
    for pattern in ("none*/**", "*/sub/*", "none/**", "top.wav/*", "*", "sub"):
        assert paths(f"{corpus}/{pattern}") == ([f"{corpus}/top.wav"] if pattern == "*" else []), pattern


@pytest.mark.parametrize("pattern", ["**.wav", "a**/b", "*/../x", "**/.."])
def test_a_glob_that_shells_and_buckets_read_in_two_ways_is_refused(tmp_path, pattern):
    with pytest.raises(ValueError, match=r"write \*\*/|write the folder itself"):
        list_files(f"{tmp_path}/{pattern}")


def test_hidden_names_are_left_out_and_counted_unless_the_glob_names_them(tmp_path):
    names = ["a.wav", "._a.wav", ".DS_Store", ".git/config", ".git/x.wav", "b/c.wav", "b/.cache/d.wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = list_files(f"{tmp_path}/**")
    assert sorted(listing.files) == [(f"{tmp_path}/a.wav", 0), (f"{tmp_path}/b/c.wav", 0)]
    assert listing.hidden == 4  # two files, and two folders with all that is in them
    assert list_files(f"{tmp_path}/**/*.wav").hidden == 3  # no glob asked for .DS_Store
    assert list_files(f"{tmp_path}/b/*.wav").hidden == 0
    assert paths(f"{tmp_path}/.*") == [f"{tmp_path}/.DS_Store", f"{tmp_path}/._a.wav"]
    assert paths(f"{tmp_path}/.git/*.wav") == paths(f"{tmp_path}/.g*/*.wav") == [f"{tmp_path}/.git/x.wav"]
    assert paths(f"{tmp_path}/**/.cache/*") == [f"{tmp_path}/b/.cache/d.wav"]
    assert paths(f"{tmp_path}/**", hidden=True) == sorted(f"{tmp_path}/{name}" for name in names)


@pytest.mark.parametrize(
    "name", ["[x].wav", "what?.wav", "*.wav", "a\\b.wav", "a[b.wav", "[!x].wav", "{a,b}"]
)
def test_a_path_that_exists_is_itself_and_so_is_an_escaped_one(tmp_path, name):
    for there in (name, "x.wav", "whatx.wav", "ab.wav", "y.wav"):
        (tmp_path / there).touch()
    assert paths(tmp_path / name) == paths(escape(str(tmp_path / name))) == [str(tmp_path / name)]
    folder = tmp_path / "in" / name
    folder.mkdir(parents=True)
    (folder / "z.wav").touch()
    assert paths(f"{escape(str(folder))}/*.wav") == [f"{folder}/z.wav"]


def test_a_folder_whose_name_is_no_glob_of_itself_is_literal(tmp_path):
    for folder in ("[2019] Live", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    assert paths(f"{tmp_path}/[2019] Live/*.wav") == [f"{tmp_path}/[2019] Live/a.wav"]
    assert paths(f"{tmp_path}/[2019]/*.wav") == [f"{tmp_path}/2/a.wav"]


def test_relative_globs_home_urls_and_double_slashes(corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    monkeypatch.setenv("HOME", str(corpus))
    (corpus / "a b%41.wav").touch()
    assert paths("*.wav") == ["a b%41.wav", "top.wav"]
    assert paths("**") == ["a b%41.wav", "link/r1.wav", "sub/gone.wav", "sub/s1.wav", "top.wav"]
    assert paths("./*/s1.wav") == ["./sub/s1.wav"]
    assert paths(f"{corpus}//sub///s*.wav") == paths("~/sub/s*.wav") == [f"{corpus}/sub/s1.wav"]
    assert paths(f"file://{corpus}/t*.wav") == paths(f"file://localhost{corpus}/t*") == [f"{corpus}/top.wav"]
    for url in (f"file://{corpus}/a b%41.wav", (corpus / "a b%41.wav").as_uri()):
        assert plain_path(url) == f"{corpus}/a b%41.wav"
    assert plain_path("gs://a//b/~") == "gs://a//b/~" and plain_path("random:0") == "random:0"


def test_what_is_neither_file_nor_folder_is_listed(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert sorted(list_files(f"{tmp_path}/*").files) == [
            (f"{tmp_path}/{name}", 0) for name in ("fifo", "socket", "zero")
        ]


@contextmanager
def nobody() -> Iterator[None]:
    """Takes root's rights to enter everything away for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_entered_is_a_fault():
    folder = Path(tempfile.mkdtemp())  # pytest's own are root's alone
    try:
        for name in ("open/a.wav", "shut/b.wav", "deaf/c.wav", "dumb/d.wav"):
            (folder / name).parent.mkdir()
            (folder / name).touch()
        folder.chmod(0o755)
        (folder / "shut").chmod(0)
        (folder / "deaf").chmod(0o711)  # may be entered, and not listed
        (folder / "dumb").chmod(0o744)  # may be listed, and not entered
        with nobody():
            listing = list_files(f"{folder}/**")
            by_name = list_files(f"{folder}/*/c.wav")
            others = list_files(f"{folder}/**/*.flac")
            with pytest.raises(PermissionError):
                list_files(f"{folder}/shut/*")
            with pytest.raises(PermissionError):
                list_files(f"{folder}/shut/b.wav")
    finally:
        for name in ("shut", "deaf", "dumb"):
            (folder / name).chmod(0o755)
        shutil.rmtree(folder)
    denied = "Permission denied"
    assert sorted(listing.files) == [(f"{folder}/{name}", 0) for name in ("dumb/d.wav", "open/a.wav")]
    assert (others.files, sorted(others.faults)) == ([], sorted(listing.faults))
    assert sorted(listing.faults) == [(f"{folder}/deaf", denied), (f"{folder}/shut", denied)]
    assert by_name.files == [(f"{folder}/deaf/c.wav", 0)]
    assert sorted(by_name.faults) == [(f"{folder}/dumb", denied), (f"{folder}/shut", denied)]


def test_a_disk_that_fails_in_the_middle_of_a_folder_is_a_fault(corpus, monkeypatch):
    scandir = os.scandir

    @contextmanager
    def failing(path):
        with scandir(path) as entries:
            if not path.endswith("/sub"):
                yield entries
                return

            def some():
                yield from sorted(entries, key=lambda entry: entry.name)[1:]
                raise OSError(5, "Input/output error")

            yield some()

    monkeypatch.setattr(os, "scandir", failing)
    listing = list_files(f"{corpus}/**/*.wav")
    found = [path for path, _ in sorted(listing.files)]
    assert found == [f"{corpus}/link/r1.wav", f"{corpus}/sub/s1.wav", f"{corpus}/top.wav"]
    assert listing.faults == [(f"{corpus}/sub", "Input/output error")]
    with pytest.raises(OSError, match="Input/output error"):
        list_files(f"{corpus}/sub/*")


def test_a_link_that_leads_nowhere_may_be_a_folder(corpus):
    (corpus / "disk").symlink_to("/mnt/not mounted")
    listing = list_files(f"{corpus}/**/*.wav")
    assert len(listing.files) == 4
    assert listing.faults == [(f"{corpus}/disk", "leads to /mnt/not mounted, which does not exist")]
    # One with an extension is a file, as thousands are where git-annex has not fetched them.
    assert list_files(f"{corpus}/**/s?.wav").faults == listing.faults
    assert list_files(f"{corpus}/*.wav").faults == []


@pytest.mark.parametrize(
    "pattern, folder, is_below",
    [
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a/.b", False),
        ("/a/*.wav", "/a", True),
        ("/a/*.wav", "/a/b", False),
        ("/a/*/x/*", "/a/b/x", True),
        ("/a/*/x/*", "/a/b/y", False),
        ("/*/x.wav", "/a", True),
        ("*/x.wav", "a", True),
        ("/b/**", "/a", False),
        ("/a/b/*", "/a", False),
        ("gs://a/**", "gs://a/b", True),
        ("/a/**.wav", "/a", False),
    ],
)
def test_matches_below(pattern, folder, is_below):
    assert matches_below(pattern, folder) is is_below


NAMES = st.sampled_from(["a", "b", "a.wav", "b.wav", ".a", ".b.wav", "ab", "ba.wav"])
PARTS = st.sampled_from(
    ["**", "**", "*", "*.wav", "a*", "?", "[ab]", "[!a]*", "a", "b", ".*", ".a", "*.w[a-b]v", "??"]
)
# Path -> None of a file, or what a link at it leads to.
FILES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.none(), max_size=8)
LINKS = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.integers(0, 20)), max_size=3
)


@contextmanager
def tree(files, links=(), circles=False) -> Iterator[str]:
    """Makes files, where nothing is in their way, and links to some of the folders."""
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            whole = Path(folder, path)
            if not whole.exists() and not any(parent.is_file() for parent in whole.parents):
                whole.parent.mkdir(parents=True, exist_ok=True)
                whole.write_bytes(bytes(len(path)))
        folders = sorted(path for path, _, _ in os.walk(folder))
        for path, number in links:
            whole, target = Path(folder, path), folders[number % len(folders)]
            in_the_way = whole.is_symlink() or whole.exists() or not whole.parent.is_dir()
            is_circle = f"{whole.parent.resolve()}/".startswith(f"{target}/") or Path(target).is_symlink()
            if not in_the_way and (circles or not is_circle):
                whole.symlink_to(target)
        yield folder


@given(FILES, LINKS, st.lists(PARTS, min_size=1, max_size=4).map("/".join))
@EXAMPLES
def test_globs_match_what_pythons_do(files, links, pattern):
    with tree(files, links) as folder:
        try:
            expected = glob.glob(f"{glob.escape(folder)}/{pattern}", recursive=True)
        except RecursionError:  # links that lead to each other
            return
        if any(len(Path(path).parts) > 20 for path in expected):
            return
        assert paths(f"{folder}/{pattern}") == sorted(
            {path for path in expected if not path.endswith("/") and not os.path.isdir(path)}
        )


@given(FILES, LINKS)
@EXAMPLES
def test_all_files_are_those_of_a_walk_that_follows_links(files, links):
    with tree(files, links, circles=True) as folder:
        walked = []
        for path, names, file_names in os.walk(folder, followlinks=True):
            walked += [f"{path}/{name}" for name in file_names]
            above = {os.path.realpath(folder) for folder in (path, *map(str, Path(path).parents))}
            names[:] = [name for name in names if os.path.realpath(f"{path}/{name}") not in above]
        assert paths(f"{folder}/**", hidden=True) == sorted(walked)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@given(FILES, st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=5, max_size=5))
@settings(max_examples=25)
def test_globs_match_what_those_of_bash_do(files, patterns):
    with tree(files) as folder:
        script = "shopt -s globstar nullglob; for p in {}; do [ -d $p ] || printf '%s\\n' $p; done"
        for pattern in patterns:
            found = subprocess.run(
                ["bash", "-c", script.format(pattern)], cwd=folder, capture_output=True, text=True, check=True
            ).stdout.splitlines()
            there = {path for path in found if os.path.isfile(f"{folder}/{path}")}
            assert paths(f"{folder}/{pattern}") == sorted(f"{folder}/{path}" for path in there), pattern


@given(FILES, st.lists(PARTS, min_size=1, max_size=4).map("/".join))
@EXAMPLES
def test_an_object_store_gives_what_a_disk_does(files, pattern):
    with tree(files) as folder, pytest.MonkeyPatch.context() as patch:
        names = {
            f"mem://bucket/{p.relative_to(folder)}": p.read_bytes()
            for p in Path(folder).rglob("*")
            if p.is_file()
        }
        patch.setattr(MemoryObjects, "names", names)
        here, there = list_files(f"{folder}/{pattern}"), list_files(f"mem://bucket/{pattern}")
        moved = [(path.replace("mem://bucket", folder), size) for path, size in there.files]
        assert sorted(moved) == sorted(here.files)
        # Where a folder is empty, or holds nothing that is asked for, an object store has none.
        assert there.hidden <= here.hidden


def test_an_object_store_is_listed_once_from_where_the_glob_begins(objects):
    names = ["a/b/one.wav", "a/b/", "a/c/.x/two.wav", "a/[b]/three.wav", "z.wav", "a//odd.wav"]
    objects.names.update({f"mem://bucket/{name}": b"12" for name in names})
    assert list_files("mem://bucket/a/b*/*.wav").files == [("mem://bucket/a/b/one.wav", 2)]
    assert objects.listed == ["mem://bucket/a/b"]
    listing = list_files("mem://bucket/**")
    assert sorted(path for path, _ in listing.files) == [
        f"mem://bucket/{name}" for name in ("a//odd.wav", "a/[b]/three.wav", "a/b/one.wav", "z.wav")
    ]
    assert listing.hidden == 1
    for pattern in (
        "mem://bucket/a/[b]/three.wav",
        escape("mem://bucket/a/[b]/three.wav"),
        "mem://bucket/a/[[]b]/*",
    ):
        assert paths(pattern) == ["mem://bucket/a/[b]/three.wav"]
    with pytest.raises(ValueError, match="cannot have wildcards"):
        list_files("mem://buck*/x")


@given(st.text("ab*?[]\\!-/.", min_size=1))
def test_what_is_escaped_is_no_glob(text):
    assert not has_magic(escape(text)) and unescape(escape(text)) == text
    assert has_magic(text) == any(character in text for character in "*?[") or unescape(text) != text


def test_paths_that_are_not_utf8_are_faults_with_escapes_and_never_another_file(tmp_path):
    for name in (b"caf\xe9.wav", b"x\xff/a.wav"):
        path = tmp_path / os.fsdecode(name)
        try:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        except OSError:
            pytest.skip("this disk takes only UTF-8 names")
    twin = tmp_path / "caf\\udce9.wav"  # what the first one looks like, escaped
    twin.write_bytes(b"twin")
    listing = list_files(f"{tmp_path}/**")
    assert listing.files == [(str(twin), 4)]
    assert sorted(listing.faults) == [(str(twin), NOT_UTF8), (f"{tmp_path}/x\\udcff/a.wav", NOT_UTF8)]
    assert json.dumps(listing.faults).encode()
    assert match_files(f"{tmp_path}/*") == [str(twin)]  # a run's folder may hold anybody's files


def test_split_glob():
    for pattern, folder in (
        ("*.wav", ""),
        ("/*", "/"),
        ("a/b*/c", "a"),
        ("gs://b/*", "gs://b"),
        ("gs://b/a/", "gs://b/a"),
    ):
        assert split_glob(pattern)[0] == folder
