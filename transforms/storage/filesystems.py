"""What Beam's filesystems lack: whole listings, files that are whole or not there, and further tries."""

import functools
import io
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, BinaryIO, cast

import google.auth
import requests
import urllib3
from apache_beam.internal.gcp import auth
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO, S3Uploader, parse_s3_path
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO, parse_gcs_path
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.utils.retry import with_exponential_backoff
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.fileio import BlobReader
from google.cloud.storage.retry import DEFAULT_RETRY
from hdfs.util import HdfsError

from transforms.storage.globs import escape

# What opening, reading, writing or listing may raise, by filesystem.
FILE_ERRORS = (
    OSError,
    BeamIOError,
    GoogleAPIError,
    GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    S3ClientError,
    HdfsError,
    urllib3.exceptions.HTTPError,
)

TEMPORARY_SUFFIX = ".tmp"

NO_CREDENTIALS = (
    "there are no Google credentials: name some with GOOGLE_APPLICATION_CREDENTIALS, or log in with "
    "gcloud auth application-default login"
)

# Answers, or none (of S3's client), that another try may change; of several files S3 answers by name.
_TRANSIENT = (None, 408, 429, 500, 502, 503, 504, "InternalError", "ServiceUnavailable", "SlowDown")

# Connections that cannot be made, or end too early.
_CUT_OFF = (
    ConnectionError,
    TimeoutError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
)

_BLOCK_BYTES = 1 << 20
_LIST_LIMIT_S = 10.0


_beams_http_error_code = boto3_client.get_http_error_code


def _http_error_code(error: Exception) -> int | None:
    """The status of a server's answer; None if there was none, where Beam's own ends in an AttributeError."""
    return _beams_http_error_code(error) if getattr(error, "response", None) else None


boto3_client.get_http_error_code = _http_error_code


def temporary_name(name: str) -> str:
    """A file's name until it is whole."""
    return f".{name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Whether a name is one of `temporary_name`'s."""
    return bool(re.fullmatch(rf"\..*\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}", name, re.DOTALL))


def filesystem_of(path: str) -> FileSystem:
    """Beam's filesystem of a path."""
    filesystem = FileSystems.get_filesystem(path)
    if isinstance(filesystem, GCSFileSystem):
        has_google_credentials()
    return filesystem


@functools.cache
def has_google_credentials() -> bool:
    """Whether this machine has credentials for Google's APIs.

    Without any Beam looks for them five times, with pauses of half a minute together, in each process, before
    it goes on as nobody in particular, who may read public buckets. Here once is enough.
    """
    try:
        google.auth.default()
    except DefaultCredentialsError:
        with auth._Credentials._credentials_lock:
            auth._Credentials._credentials_init = True
        return False
    return True


def _is_transient(error: Exception) -> bool:
    """Whether another try may go well: the server's fault, or the network's; never what is not there."""
    if isinstance(error, BeamIOError):
        return any(isinstance(e, Exception) and _is_transient(e) for e in error.exception_details.values())
    if isinstance(error, S3ClientError):
        # An upload that the server has lost, or had done when the answer to that was lost: all of it again.
        return error.code in _TRANSIENT or "NoSuchUpload" in str(error)
    if isinstance(error, InvalidResponse):  # and as here on Google's side
        lost = error.response.status_code in (404, 410) and "upload_id=" in (error.response.request.url or "")
        return lost or error.response.status_code in _TRANSIENT
    if isinstance(error, GoogleAPICallError):
        return error.code in _TRANSIENT
    return isinstance(error, _CUT_OFF)


# Beyond the tries that Google's, Amazon's and Beam's clients make themselves: for an upload, which is begun
# anew, for deletions, and for what Google's reader does not try again. A server that starts takes a minute.
_tried_again = with_exponential_backoff(
    num_retries=7, initial_delay_secs=1.0, max_delay_secs=30, retry_filter=_is_transient
)


def open_to_read(path: str) -> BinaryIO:
    """Opens a file whose bytes are read as they are."""
    file = filesystem_of(path).open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return cast(BinaryIO, _BlobFile(file)) if isinstance(file, BlobReader) else file


class _BlobFile(io.BufferedIOBase):
    """A file of Google's that is read to its end and not beyond, which would cost a request, and is read on.

    Google's reader tries again, but for an error's own text that is cut off; and it forgets what it had of a
    read that fails.

    Args:
      reader: as Beam opens it, so that the size is known.
    """

    def __init__(self, reader: BlobReader):
        self._reader = reader

    def read(self, size: int | None = -1) -> bytes:
        start = self._reader.tell()
        left = max(0, self._reader._blob.size - start)
        size = left if size is None or size < 0 else min(size, left)

        def read_from_start() -> bytes:
            if self._reader.tell() != start:
                self._reader.seek(start)
            data = self._reader.read(size)
            if len(data) < size:  # and not what a file's end looks like
                raise ConnectionError(f"{len(data)} bytes came of {size}")
            return data

        return _tried_again(read_from_start)() if size else b""

    def read1(self, size: int = -1) -> bytes:
        return self.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._reader.close()
        super().close()


@_tried_again
def delete(paths: Sequence[str]) -> None:
    """Deletes files of one filesystem that are there, and no other: Beam takes some paths for globs."""
    filesystem = filesystem_of(paths[0])
    if isinstance(filesystem, LocalFileSystem):
        for path in paths:
            with suppress(FileNotFoundError):
                os.unlink(path)
    elif isinstance(filesystem, GCSFileSystem):
        filesystem.delete([escape(path) for path in paths])
    else:
        filesystem.delete(list(paths))


def upload(whole: IO[bytes], path: str) -> None:
    """Puts all of a file in place on a filesystem other than the local one."""
    filesystem = filesystem_of(path)
    if not filesystem.has_dirs():  # an object store shows an object when it has all its bytes
        _tried_again(_write)(whole, path)
        return
    # HDFS shows a file as it grows, and does not replace one.
    folder, name = FileSystems.split(path)
    temporary = FileSystems.join(folder, temporary_name(name))
    try:
        _write(whole, temporary)
        if filesystem.exists(path):
            filesystem.delete([path])
        filesystem.rename([temporary], [path])
    except BaseException:
        if filesystem.exists(temporary):
            filesystem.delete([temporary])
        raise


def _write(whole: IO[bytes], path: str) -> None:
    whole.seek(0)
    with filesystem_of(path).create(
        path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
    ) as file:
        shutil.copyfileobj(whole, file, _BLOCK_BYTES)
        uploader = getattr(getattr(file, "raw", None), "_uploader", None)
        if not whole.tell() and isinstance(uploader, S3Uploader):
            # S3 refuses an upload without a part, which is what Beam makes of no bytes.
            uploader._write_to_s3(b"")


def check_reachable(path: str) -> None:
    """Raises one of FILE_ERRORS soon if a bucket cannot be listed; Beam would try for up to ten minutes."""
    filesystem = filesystem_of(path)
    if path.startswith("hdfs:///"):
        raise OSError("Beam writes hdfs://FOLDER/..., or hdfs://SERVER/FOLDER/... with --hdfs_full_urls")
    if isinstance(filesystem, S3FileSystem):
        bucket, _ = parse_s3_path(path, object_optional=True)
        try:
            S3IO(options=filesystem._options).client.client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except (BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error
    elif isinstance(filesystem, GCSFileSystem):
        bucket, _ = parse_gcs_path(path, object_optional=True)
        client = GcsIO(pipeline_options=filesystem._pipeline_options).client
        # Google's client lists when it is asked for the first item.
        blobs = client.list_blobs(bucket, max_results=1, retry=DEFAULT_RETRY.with_timeout(_LIST_LIMIT_S))
        try:
            next(iter(blobs), None)
        except FILE_ERRORS as error:
            if has_google_credentials():
                raise
            raise OSError(f"{error}; {NO_CREDENTIALS}") from error
