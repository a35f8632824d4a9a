"""Files that a glob matches on a disk and in an object store."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from memory_objects import objects, paths  # noqa: F401

from transforms.storage import listing as listing_module
from transforms.storage.files import match_files
from transforms.storage.globs import escape, plain_path
from transforms.storage.listing import NOT_UTF8, list_files


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Files in folders, and links to a folder and to nothing."""
    for name in ("D/top.wav", "D/sub/s1.wav", "real/r1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "D" / "link").symlink_to("../real")
    (tmp_path / "D" / "sub" / "gone.wav").symlink_to("/nowhere")
    return tmp_path / "D"


def test_links_are_followed_and_broken_ones_are_listed(corpus):
    listing = list_files(f"{corpus}/**")
    assert sorted(listing.files) == [
        (f"{corpus}/link/r1.wav", 5),
        (f"{corpus}/sub/gone.wav", 0),
        (f"{corpus}/sub/s1.wav", 5),
        (f"{corpus}/top.wav", 5),
    ]
    assert (listing.faults, listing.hidden) == ([], 0)
    assert paths(f"{corpus}/sub/gone.wav") == [f"{corpus}/sub/gone.wav"]


def test_cycles_of_links_are_not_followed(corpus):
    (corpus / "sub" / "up").symlink_to("..")
    (corpus / "self").symlink_to("self")
    (corpus.parent / "real" / "back").symlink_to(corpus)
    found = [path.removeprefix(f"{corpus}/") for path in paths(f"{corpus}/**")]
    assert found == ["link/r1.wav", "self", "sub/gone.wav", "sub/s1.wav", "top.wav"]


def test_two_stars_match_zero_or_more_folders(corpus):
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
def test_ambiguous_globs_are_refused(tmp_path, pattern):
    with pytest.raises(ValueError, match=r"write \*\*/|write the folder itself"):
        list_files(f"{tmp_path}/{pattern}")


def test_hidden_names_are_skipped_and_counted_unless_the_glob_names_them(tmp_path):
    names = ["a.wav", "._a.wav", ".DS_Store", ".git/config", ".git/x.wav", "b/c.wav", "b/.cache/d.wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = list_files(f"{tmp_path}/**")
    assert sorted(listing.files) == [(f"{tmp_path}/a.wav", 0), (f"{tmp_path}/b/c.wav", 0)]
    assert listing.hidden == 4  # two files, and two folders with all that is in them
    assert list_files(f"{tmp_path}/**/*.wav").hidden == 3  # this glob does not match .DS_Store
    assert list_files(f"{tmp_path}/b/*.wav").hidden == 0
    assert paths(f"{tmp_path}/.*") == [f"{tmp_path}/.DS_Store", f"{tmp_path}/._a.wav"]
    assert paths(f"{tmp_path}/.git/*.wav") == paths(f"{tmp_path}/.g*/*.wav") == [f"{tmp_path}/.git/x.wav"]
    assert paths(f"{tmp_path}/**/.cache/*") == [f"{tmp_path}/b/.cache/d.wav"]
    assert paths(f"{tmp_path}/**", hidden=True) == sorted(f"{tmp_path}/{name}" for name in names)


@pytest.mark.parametrize(
    "name", ["[x].wav", "what?.wav", "*.wav", "a\\b.wav", "a[b.wav", "[!x].wav", "{a,b}"]
)
def test_existing_and_escaped_paths_are_taken_literally(tmp_path, name):
    for there in (name, "x.wav", "whatx.wav", "ab.wav", "y.wav"):
        (tmp_path / there).touch()
    assert paths(tmp_path / name) == paths(escape(str(tmp_path / name))) == [str(tmp_path / name)]
    folder = tmp_path / "in" / name
    folder.mkdir(parents=True)
    (folder / "z.wav").touch()
    assert paths(f"{escape(str(folder))}/*.wav") == [f"{folder}/z.wav"]


def test_a_folder_whose_name_as_a_glob_does_not_match_itself_is_literal(tmp_path):
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


def test_sockets_fifos_and_devices_are_listed(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert sorted(list_files(f"{tmp_path}/*").files) == [
            (f"{tmp_path}/{name}", 0) for name in ("fifo", "socket", "zero")
        ]


@contextmanager
def without_root() -> Iterator[None]:
    """Drop root's permission to enter all folders."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_permission_is_a_fault():
    folder = Path(tempfile.mkdtemp())  # only root may enter pytest's own folders
    try:
        for name in ("open/a.wav", "shut/b.wav", "deaf/c.wav", "dumb/d.wav"):
            (folder / name).parent.mkdir()
            (folder / name).touch()
        folder.chmod(0o755)
        (folder / "shut").chmod(0)
        (folder / "deaf").chmod(0o711)  # can be entered but not listed
        (folder / "dumb").chmod(0o744)  # can be listed but not entered
        with without_root():
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


def test_a_folder_that_cannot_be_listed_to_its_end_is_a_fault(corpus, monkeypatch):
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


def test_a_broken_link_may_be_a_folder(corpus):
    (corpus / "disk").symlink_to("/mnt/not mounted")
    listing = list_files(f"{corpus}/**/*.wav")
    assert len(listing.files) == 4
    assert listing.faults == [(f"{corpus}/disk", "leads to /mnt/not mounted, which does not exist")]
    # One with an extension is a file, as thousands are where git-annex has not fetched them.
    assert list_files(f"{corpus}/**/s?.wav").faults == listing.faults
    assert list_files(f"{corpus}/*.wav").faults == []


def test_an_object_store_is_listed_once_from_the_literal_beginning_of_the_glob(objects):  # noqa: F811
    names = ["a/b/one.wav", "a/b/", "a/c/.x/two.wav", "a/[b]/three.wav", "z.wav", "a//odd.wav", ".y.wav"]
    objects.names.update({f"mem://bucket/{name}": b"12" for name in names})
    assert list_files("mem://bucket/a/b*/*.wav").files == [("mem://bucket/a/b/one.wav", 2)]
    assert objects.listed == ["mem://bucket/a/b"]
    listing = list_files("mem://bucket/**")
    assert sorted(path for path, _ in listing.files) == [
        f"mem://bucket/{name}" for name in ("a//odd.wav", "a/[b]/three.wav", "a/b/one.wav", "z.wav")
    ]
    assert listing.hidden == 2  # a folder with all that is in it, and a file
    for pattern in (
        "mem://bucket/a/[b]/three.wav",
        escape("mem://bucket/a/[b]/three.wav"),
        "mem://bucket/a/[[]b]/*",
    ):
        assert paths(pattern) == ["mem://bucket/a/[b]/three.wav"]
    with pytest.raises(ValueError, match="cannot have wildcards"):
        list_files("mem://buck*/x")


def test_paths_that_are_not_utf8_are_escaped_faults_and_never_another_file(tmp_path):
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


class DiskAsHdfs:
    """Answers as an HDFS server over the files of a folder."""

    def __init__(self, root: Path):
        self._root = root

    def status(self, path: str, strict: bool) -> dict | None:
        there = Path(f"{self._root}{path}")
        if not there.exists():
            return None
        if there.is_dir():
            return {"type": "DIRECTORY", "length": 0}
        return {"type": "FILE", "length": there.stat().st_size}

    def list(self, path: str, status: bool) -> list[tuple[str, dict | None]]:
        return [(name, self.status(f"{path}/{name}", False)) for name in os.listdir(f"{self._root}{path}")]


def test_hdfs_gives_the_same_as_a_disk(tmp_path, monkeypatch):
    for name in ("D/top.wav", "D/sub/s1.wav", "D/sub/.s2.wav", "D/sub/deep/s3.wav", "D/[x]/s4.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    addresses = PipelineOptions(["--hdfs_host=h", "--hdfs_port=1", "--hdfs_user=u"])
    filesystem, disk = HadoopFileSystem(addresses), listing_module.filesystem_of
    filesystem._hdfs_client = DiskAsHdfs(tmp_path)
    monkeypatch.setattr(
        listing_module, "filesystem_of", lambda path: filesystem if path.startswith("hdfs:") else disk(path)
    )
    found = []
    for pattern in (
        *("D/**", "D/*", "D/*.wav", "D/*/*", "D/*/", "D/sub/s1.wav", "D/sub/s?.wav", "D/[x]/s4.wav"),
        *("D/[x]/*", "D/**/deep/*", "D/sub", "D/none.wav", "none/*", "D/sub/.s2.wav"),
    ):
        local, hdfs = list_files(f"{tmp_path}/{pattern}"), list_files(f"hdfs://{pattern}")
        expected = [(path.replace(f"{tmp_path}/", "hdfs://"), size) for path, size in local.files]
        assert (sorted(hdfs.files), hdfs.hidden) == (sorted(expected), local.hidden), pattern
        found += hdfs.files
    assert ("hdfs://D/sub/s1.wav", 5) in found and len(found) > 12


def test_the_fault_of_a_link_in_a_loop_is_its_own(tmp_path):
    """Only of a link to nothing the target is named."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("/nowhere")
    faults = dict(list_files(f"{tmp_path}/*/x.wav").faults)
    assert faults[f"{tmp_path}/gone"] == "leads to /nowhere, which does not exist"
    assert faults[f"{tmp_path}/loop"] == "Too many levels of symbolic links"
