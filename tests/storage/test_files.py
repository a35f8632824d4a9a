import os
import stat

import pytest
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import BeamIOError
from botocore.exceptions import ClientError, ConnectionClosedError
from google.api_core.exceptions import Forbidden, NotFound, ServiceUnavailable

from transforms.storage import files, filesystems
from transforms.storage.files import folds_case, is_local, match_files, new_file, open_file, write_atomic
from transforms.storage.filesystems import FILE_ERRORS


def test_put_file_makes_folders_and_leaves_nothing_beside_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "--.tfrecord"
    write_atomic(str(path), b"one")
    write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_put_file_gives_the_permissions_of_an_ordinary_file(tmp_path):
    write_atomic(str(tmp_path / "x"), b"")
    (tmp_path / "y").write_bytes(b"")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in "xy"}
    assert len(modes) == 1


def test_put_file_that_fails_keeps_the_old_file_and_no_temporary_one(tmp_path):
    folder = tmp_path / "taken"
    (folder / "child").mkdir(parents=True)
    with pytest.raises(FILE_ERRORS):
        write_atomic(str(folder), b"data")  # a folder cannot be replaced by a file
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "child").is_dir()


def test_match_files_lists_files_only_and_goes_into_folders(tmp_path):
    for name in ("b.wav", "a.wav", "sub/deep/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert match_files(f"{tmp_path}/*") == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    assert match_files(f"{tmp_path}/**") == [f"{tmp_path}/{n}" for n in ("a.wav", "b.wav", "sub/deep/c.wav")]
    assert match_files(f"{tmp_path}/none*") == []


def test_a_link_that_leads_nowhere_holds_no_file_of_a_run(tmp_path):
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


def test_s3s_client_knows_a_connection_that_is_closed():
    error = ConnectionClosedError(endpoint_url="http://127.0.0.1:9")
    assert error.response is None and boto3_client.get_http_error_code(error) is None
    answered = ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}}, "PutObject")
    assert boto3_client.get_http_error_code(answered) == 503


@pytest.mark.parametrize(
    "error, again",
    [
        (S3ClientError("busy", 503), True),
        (S3ClientError("no answer", None), True),
        (S3ClientError("An error occurred (NoSuchUpload) when calling", 404), True),
        (S3ClientError("not there", 404), False),
        (S3ClientError("not allowed", 403), False),
        (BeamIOError("delete", {"a": None, "b": S3ClientError("slowly", "SlowDown")}), True),
        (BeamIOError("delete", {"a": S3ClientError("no", "AccessDenied")}), False),
        (ServiceUnavailable("busy"), True),
        (NotFound("not there"), False),
        (Forbidden("not allowed"), False),
        (ConnectionResetError(), True),
        (FileNotFoundError(), False),
        (ValueError(), False),
    ],
)
def test_what_a_server_may_do_better_is_tried_again_and_nothing_else(error, again):
    assert filesystems._is_transient(error) is again
