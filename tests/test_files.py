import os
import stat

import pytest

from transforms import files
from transforms.files import (
    FILE_ERRORS,
    folds_case,
    is_local,
    match_files,
    new_file,
    open_file,
    put_file,
)


def test_put_file_makes_folders_and_leaves_nothing_beside_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "--.tfrecord"
    put_file(str(path), b"one")
    put_file(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_put_file_gives_the_permissions_of_an_ordinary_file(tmp_path):
    put_file(str(tmp_path / "x"), b"")
    (tmp_path / "y").write_bytes(b"")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in "xy"}
    assert len(modes) == 1


def test_put_file_that_fails_keeps_the_old_file_and_no_temporary_one(tmp_path):
    folder = tmp_path / "taken"
    (folder / "child").mkdir(parents=True)
    with pytest.raises(FILE_ERRORS):
        put_file(str(folder), b"data")  # a folder cannot be replaced by a file
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "child").is_dir()


def test_match_files_lists_files_only_and_goes_into_folders(tmp_path):
    for name in ("b.wav", "a.wav", "sub/deep/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert match_files(f"{tmp_path}/*") == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    assert match_files(f"{tmp_path}/**") == [f"{tmp_path}/{n}" for n in ("a.wav", "b.wav", "sub/deep/c.wav")]
    assert match_files(f"{tmp_path}/none*") == []


def test_open_file_leaves_compressed_bytes_as_they_are(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(b"\x1f\x8b not really gzip")
    with open_file(str(path)) as file:
        assert file.read() == path.read_bytes()


def test_is_local():
    assert is_local("/a/b") and is_local("a")
    assert not is_local("gs://bucket/a")


@pytest.mark.parametrize("local", [True, False])  # False: by way of Beam, as to an object store
def test_new_file_appears_whole_or_not_at_all(tmp_path, monkeypatch, local):
    monkeypatch.setattr(files, "is_local", lambda path: local)
    path = tmp_path / "a" / "b.tar"
    with new_file(str(path)) as file:
        file.write(b"one")
        file.write(b"two")
        assert path.exists() <= (not local)
    assert path.read_bytes() == b"onetwo" and list(path.parent.iterdir()) == [path]
    path.unlink()
    with pytest.raises(RuntimeError), new_file(str(path)) as file:
        file.write(b"half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []


def test_case_is_told_apart_where_the_disk_does(tmp_path):
    (tmp_path / "a").touch()
    assert folds_case(str(tmp_path)) == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
