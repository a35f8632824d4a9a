import hashlib
import io
import os
import stat

import pytest

from transforms.errors import OutputError, SettingError
from transforms.storage import files
from transforms.storage.files import (
    delete_files,
    final_path,
    folds_case,
    is_local,
    match_files,
    new_file,
    open_file,
    read_given,
    sha256_of_file,
    write_atomic,
    write_output,
)
from transforms.storage.filesystems import FILE_ERRORS, temporary_name


def test_write_atomic_makes_folders_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "a" / "b" / "--.tfrecord"
    write_atomic(str(path), b"one")
    write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_write_atomic_gives_the_permissions_of_an_ordinary_file(tmp_path):
    write_atomic(str(tmp_path / "x"), b"")
    (tmp_path / "y").write_bytes(b"")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in "xy"}
    assert len(modes) == 1


def test_write_atomic_that_fails_keeps_the_old_file_and_no_temporary_one(tmp_path):
    folder = tmp_path / "taken"
    (folder / "child").mkdir(parents=True)
    with pytest.raises(FILE_ERRORS):
        write_atomic(str(folder), b"data")  # a folder cannot be replaced by a file
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "child").is_dir()


def test_match_files_lists_only_files_also_in_subfolders(tmp_path):
    for name in ("b.wav", "a.wav", "sub/deep/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert match_files(f"{tmp_path}/*") == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    assert match_files(f"{tmp_path}/**") == [f"{tmp_path}/{n}" for n in ("a.wav", "b.wav", "sub/deep/c.wav")]
    assert match_files(f"{tmp_path}/none*") == []


def test_a_broken_link_is_not_a_file_of_a_run(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ab.tfrecord").touch()
    (tmp_path / "gone").symlink_to("/nowhere")
    assert match_files(f"{tmp_path}/*/*.tfrecord") == [f"{tmp_path}/train/ab.tfrecord"]


def test_open_file_leaves_compressed_bytes_as_they_are(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(b"\x1f\x8b not really gzip")
    with open_file(str(path)) as file:
        assert file.read() == path.read_bytes()


def test_is_local():
    assert is_local("/a/b") and is_local("a")
    assert not is_local("gs://bucket/a")


@pytest.mark.parametrize("local", [True, False])  # False: by way of Beam, as to an object store
def test_new_file_appears_complete_or_not_at_all(tmp_path, monkeypatch, local):
    monkeypatch.setattr(files, "is_local", lambda path: local)
    path = tmp_path / "a" / "b.tar"
    with new_file(str(path)) as file:
        file.write(b"one")
        file.write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"onetwo" and list(path.parent.iterdir()) == [path]
    path.unlink()
    with pytest.raises(RuntimeError), new_file(str(path)) as file:
        file.write(b"half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []


def test_a_new_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Otherwise a power failure after the rename could leave an empty file."""
    synced = {}
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    def check_replace(source, target):
        assert synced[os.stat(source).st_ino] == len(b"features")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", check_replace)
    write_atomic(str(tmp_path / "shard"), b"features")
    assert (tmp_path / "shard").read_bytes() == b"features" and len(synced) == 1


def test_folds_case_agrees_with_the_disk(tmp_path):
    (tmp_path / "a").touch()
    assert folds_case(str(tmp_path)) == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_the_named_file_is_deleted_even_if_its_name_is_a_glob(tmp_path):
    for name in ("a[1]", "a1", "b*", "bc"):
        (tmp_path / name).touch()
    delete_files([f"{tmp_path}/a[1]", f"{tmp_path}/b*"])
    assert {path.name for path in tmp_path.iterdir()} == {"a1", "bc"}


def test_a_hash_is_that_of_all_bytes_which_are_read_in_blocks(tmp_path, monkeypatch):
    class File(io.BytesIO):
        def read(self, size=-1):
            assert size is not None and 0 < size <= 1 << 22
            return super().read(size)

    data = os.urandom(1 << 16) * 70
    monkeypatch.setattr(files, "open_file", lambda path: File(data))
    assert sha256_of_file("x") == hashlib.sha256(data).hexdigest()
    monkeypatch.undo()
    assert sha256_of_file(str(tmp_path / "none")) is None
    assert sha256_of_file(str(tmp_path)) is None


def test_a_given_file_that_cannot_be_read_is_named_with_what_it_is(tmp_path):
    (tmp_path / "x").write_bytes(b"data")
    assert read_given(str(tmp_path / "x"), "rejects") == b"data"
    with pytest.raises(SettingError, match=r"^rejects .*/none: cannot be read .*; check the path"):
        read_given(str(tmp_path / "none"), "rejects")


def test_what_is_no_file_is_named_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "fifo", "a FIFO"), ("/dev/null", "a device")):
        with pytest.raises(OSError, match=f"^{kind}, not a file: {path}$"):
            open_file(str(path))


def test_a_file_of_the_output_that_cannot_be_written_is_named_with_the_cause(tmp_path):
    write_output(str(tmp_path / "x"), b"data")
    assert (tmp_path / "x").read_bytes() == b"data"
    with pytest.raises(OutputError, match=r"^.*/x/y: cannot be written \(\w[\w ]+\); existing files are"):
        write_output(str(tmp_path / "x" / "y"), b"data")


def test_a_temporary_file_tells_its_final_path(tmp_path):
    for name in ("ab.tfrecord", "--.tfrecord", "rejected-00000-of-00001.jsonl", "a.b.c", "plain"):
        assert final_path(f"{tmp_path}/{temporary_name(name)}") == f"{tmp_path}/{name}"


@pytest.mark.parametrize("folds", [True, False])
def test_a_disk_folds_case_if_the_probe_has_another_name_too(tmp_path, monkeypatch, folds):
    monkeypatch.setattr(files, "temporary_name", lambda name: f".{name}.probe")
    if folds:
        (tmp_path / ".CASE.PROBE").touch()
    assert folds_case(str(tmp_path)) is folds
    assert [path.name for path in tmp_path.iterdir()] == [".CASE.PROBE"] * folds
