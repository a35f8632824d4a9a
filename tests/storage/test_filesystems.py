import io
import os

import pytest
import requests
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.localfilesystem import LocalFileSystem
from botocore.exceptions import ClientError, ConnectionClosedError
from google.api_core.exceptions import Forbidden, NotFound, ServiceUnavailable
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from transforms.storage import filesystems
from transforms.storage.filesystems import (
    FILE_ERRORS,
    check_reachable,
    delete,
    filesystem_of,
    is_temporary,
    temporary_name,
    upload,
)


def test_a_closed_connection_to_s3_has_no_error_code():
    error = ConnectionClosedError(endpoint_url="http://127.0.0.1:9")
    assert error.response is None and boto3_client.get_http_error_code(error) is None
    answered = ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}}, "PutObject")
    assert boto3_client.get_http_error_code(answered) == 503


def answer(status: int, query: str = "") -> InvalidResponse:
    """The error of Google's client for an answer of the server."""
    response = requests.Response()
    response.status_code = status
    response.request = requests.Request("PUT", f"https://host/upload/b/o{query}").prepare()
    return InvalidResponse(response)


@pytest.mark.parametrize(
    "error, again",
    [
        (answer(404, "?upload_id=x"), True),  # the server lost the upload
        (answer(410, "?upload_id=x"), True),
        (answer(403, "?upload_id=x"), False),
        (answer(404), False),
        (answer(410), False),
        (answer(503), True),
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
def test_only_errors_of_server_or_network_are_retried(error, again):
    assert filesystems._is_transient(error) is again


@pytest.mark.parametrize(
    "error", [answer(404), DataCorruption(None), BeamIOError("x"), S3ClientError("x", 404)]
)
def test_errors_of_stores_are_errors_of_files(error):
    assert isinstance(error, FILE_ERRORS)


def test_temporary_names_are_unique_and_recognized():
    first, second = temporary_name("a.b"), temporary_name("a.b")
    assert first != second and is_temporary(first) and is_temporary(second)
    assert not any(map(is_temporary, ("a.b", ".a.b.tmp", first[1:], f"{first}x", f"{first[:-4]}.mpt")))


def test_only_the_named_files_are_deleted(tmp_path):
    for name in ("a[1]", "a1"):
        (tmp_path / name).touch()
    delete([f"{tmp_path}/a[1]", f"{tmp_path}/gone"])
    assert [path.name for path in tmp_path.iterdir()] == ["a1"]


def test_an_address_without_an_hdfs_server_is_refused(monkeypatch):
    monkeypatch.setattr(filesystems, "filesystem_of", lambda path: None)
    with pytest.raises(OSError, match="use hdfs://FOLDER"):
        check_reachable("hdfs:///x")


def test_credentials_are_looked_for_before_a_bucket_of_google_is_used(monkeypatch):
    asked = []
    monkeypatch.setattr(filesystems, "has_google_credentials", lambda: asked.append(True))
    assert isinstance(filesystem_of("/x"), LocalFileSystem) and not asked
    assert isinstance(filesystem_of("gs://b/x"), GCSFileSystem) and asked == [True]


@pytest.mark.parametrize("has_credentials", [True, False])
@pytest.mark.parametrize("error", [None, Forbidden("not allowed")])
def test_a_bucket_of_google_is_reachable_if_its_first_object_can_be_listed(
    monkeypatch, has_credentials, error
):
    class Client:
        asked = ()

        def list_blobs(self, bucket, max_results, retry):
            self.asked = (bucket, max_results, retry.timeout <= 20)
            if error is not None:
                raise error
            yield "first"

    client = Client()
    monkeypatch.setattr(filesystems, "has_google_credentials", lambda: has_credentials)
    monkeypatch.setattr(filesystems, "gcs_client", lambda filesystem: client)
    if error is None:
        check_reachable("gs://b/")
    else:
        expected = Forbidden if has_credentials else OSError
        with pytest.raises(expected, match="not allowed") as caught:
            check_reachable("gs://b/x")
        assert ("there are no Google credentials" in str(caught.value)) != has_credentials
    assert client.asked == ("b", 1, True)


def test_a_bucket_of_amazon_that_cannot_be_listed_is_one_error(monkeypatch):
    class Client:
        def list_objects_v2(self, **request):
            assert request == {"Bucket": "b", "MaxKeys": 1}
            raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectsV2")

    monkeypatch.setattr(filesystems, "filesystem_of", lambda path: S3FileSystem(None))
    monkeypatch.setattr(filesystems, "s3_client", lambda filesystem: Client())
    with pytest.raises(OSError, match="NoSuchBucket"):
        check_reachable("s3://b/x")


class Reader:
    """A file on Google Cloud Storage, as its client opens it; some reads return too little."""

    def __init__(self, data: bytes, failures: int):
        self._blob = type("Blob", (), {"size": len(data)})
        self._data, self._at, self._failures = data, 0, failures

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset
        return offset

    def read(self, size: int) -> bytes:
        assert 0 < size <= len(self._data) - self._at, "a read past the end costs a request"
        if self._failures:
            self._failures -= 1
            size -= 1
        self._at += size
        return self._data[self._at - size : self._at]


def test_a_read_that_is_cut_off_is_repeated_from_its_start(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda s: None)
    file = filesystems._BlobFile(Reader(b"0123456789", failures=2))
    assert [file.read(4), file.read(), file.read(5), file.read1()] == [b"0123", b"456789", b"", b""]


class LikeHdfs(LocalFileSystem):
    """A disk on which a rename does not replace a file, as on HDFS."""

    @classmethod
    def scheme(cls):
        return "likehdfs"  # local paths are not of this class

    def rename(self, source_file_names, destination_file_names):
        if any(map(os.path.exists, destination_file_names)):
            raise BeamIOError("exists", dict.fromkeys(destination_file_names))
        super().rename(source_file_names, destination_file_names)


@pytest.fixture
def like_hdfs(monkeypatch):
    disk = LikeHdfs(None)
    monkeypatch.setattr(filesystems, "filesystem_of", lambda path: disk)
    return disk


def test_an_upload_replaces_a_file_where_a_rename_does_not(tmp_path, like_hdfs):
    path = tmp_path / "a"
    for data in (b"old", b"new"):
        upload(io.BytesIO(data), str(path))
        assert path.read_bytes() == data and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step, left", [("copyfileobj", [b"old"]), ("rename", [])])
def test_an_upload_that_fails_leaves_no_temporary_file(tmp_path, like_hdfs, monkeypatch, step, left):
    """Until the new file is whole, the old one stays."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("the server is gone")

    monkeypatch.setattr(like_hdfs if step == "rename" else filesystems.shutil, step, fail)
    with pytest.raises(OSError, match="the server is gone"):
        upload(io.BytesIO(b"new"), str(path))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == left


def test_an_upload_to_an_object_store_is_repeated_from_its_first_byte(monkeypatch):
    sent: list[bytes] = []

    class Upload(io.BytesIO):
        def close(self):
            if not self.closed:
                sent.append(self.getvalue())
                super().close()
                if len(sent) < 3:
                    raise ConnectionResetError

    class Store:
        def has_dirs(self):
            return False

        def create(self, path, *_, **__):
            assert path == "mem://a"
            return Upload()

    monkeypatch.setattr("time.sleep", lambda s: None)
    monkeypatch.setattr(filesystems, "filesystem_of", lambda path: Store())
    whole = io.BytesIO()
    whole.write(b"whole")  # and not rewound
    upload(whole, "mem://a")
    assert sent == [b"whole"] * 3
