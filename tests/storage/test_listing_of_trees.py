"""Listings of random folders equal those of Python, bash, a walk, and an object store."""

import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_objects import MemoryObjects, paths

from transforms.storage.listing import list_files

# A folder of trees is made for each example.
EXAMPLES = settings(max_examples=100)

NAMES = st.sampled_from(["a", "b", "a.wav", "b.wav", ".a", ".b.wav", "ab", "ba.wav"])
PARTS = st.sampled_from(
    ["**", "**", "*", "*.wav", "a*", "?", "[ab]", "[!a]*", "a", "b", ".*", ".a", "*.w[a-b]v", "??"]
)
# Path -> None for a file; (path of a link, number of its target).
FILES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.none(), max_size=8)
LINKS = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.integers(0, 20)), max_size=3
)


@contextmanager
def tree(files, links=(), circles=False) -> Iterator[str]:
    """Make files where their path is free, and links to some of the folders."""
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
def test_globs_match_the_same_as_in_python(files, links, pattern):
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
def test_all_files_equal_those_of_a_walk_that_follows_links(files, links):
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
def test_globs_match_the_same_as_in_bash(files, patterns):
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
def test_an_object_store_gives_the_same_as_a_disk(files, pattern):
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
