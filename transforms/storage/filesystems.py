"""Extends Beam's filesystems with atomic uploads, safe deletions, more retries and quick checks."""

import io
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, BinaryIO, cast

import requests
import urllib3
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import parse_s3_path
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import parse_gcs_path
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.utils.retry import with_exponential_backoff
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.fileio import BlobReader
from google.cloud.storage.retry import DEFAULT_RETRY
from hdfs.util import HdfsError

from transforms.beam_internals import (
    blob_size,
    complete_empty_upload,
    gcs_client,
    has_google_credentials,
    s3_client,
)
from transforms.storage.globs import escape

# The errors that opening, reading, writing or listing files may raise on the different filesystems.
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
    "there are no Google credentials: set GOOGLE_APPLICATION_CREDENTIALS to a key file, or log in with "
    "gcloud auth application-default login"
)

# Responses after which a retry may succeed. S3's client has None if there was no response, and names instead
# of numbers if a request is about several files.
_TRANSIENT = (None, 408, 429, 500, 502, 503, 504, "InternalError", "ServiceUnavailable", "SlowDown")

# Connections that fail, or end too early.
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


def temporary_name(name: str) -> str:
    """Return the name of a file until it is complete."""
    return f".{name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Return whether a name has the form of `temporary_name`."""
    return bool(re.fullmatch(rf"\..*\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}", name, re.DOTALL))


def filesystem_of(path: str) -> FileSystem:
    """Return Beam's filesystem for a path."""
    filesystem = FileSystems.get_filesystem(path)
    if isinstance(filesystem, GCSFileSystem):
        has_google_credentials()
    return filesystem


def _is_transient(error: Exception) -> bool:
    """Return whether a retry may succeed: after errors of server or network, never for missing files."""
    if isinstance(error, BeamIOError):
        return any(isinstance(e, Exception) and _is_transient(e) for e in error.exception_details.values())
    if isinstance(error, S3ClientError):
        # The server lost the upload, or completed it but the response was lost: upload everything again.
        return error.code in _TRANSIENT or "NoSuchUpload" in str(error)
    if isinstance(error, InvalidResponse):  # the same for Google's uploads
        lost = error.response.status_code in (404, 410) and "upload_id=" in (error.response.request.url or "")
        return lost or error.response.status_code in _TRANSIENT
    if isinstance(error, GoogleAPICallError):
        return error.code in _TRANSIENT
    return isinstance(error, _CUT_OFF)


# Retries in addition to those of Google's, Amazon's and Beam's clients: for whole uploads, for deletions, and
# for reads that Google's reader does not retry. A server may take a minute to start.
with_retries = with_exponential_backoff(
    num_retries=7, initial_delay_secs=1.0, max_delay_secs=30, retry_filter=_is_transient
)


def open_to_read(path: str) -> BinaryIO:
    """Open a file for reading without decompression."""
    file = filesystem_of(path).open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return cast(BinaryIO, _BlobFile(file)) if isinstance(file, BlobReader) else file


class _BlobFile(io.BufferedIOBase):
    """A file on Google Cloud Storage that resumes failed reads and never reads past its end.

    A read past the end would cost a request. Google's reader does retry, but not if the response with the
    error is itself cut off, and it discards the bytes of a failed read.
    """

    def __init__(self, reader: BlobReader):
        self._reader = reader  # opened by Beam, so that the size is known

    def read(self, size: int | None = -1) -> bytes:
        start = self._reader.tell()
        left = max(0, blob_size(self._reader) - start)
        size = left if size is None or size < 0 else min(size, left)

        def read_from_start() -> bytes:
            if self._reader.tell() != start:
                self._reader.seek(start)
            data = self._reader.read(size)
            if len(data) < size:  # must not look like the end of the file
                raise ConnectionError(f"received {len(data)} of {size} bytes")
            return data

        return with_retries(read_from_start)() if size else b""

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


@with_retries
def delete(paths: Sequence[str]) -> None:
    """Delete exactly these existing files of one filesystem. Beam would treat some of the paths as globs."""
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
    """Upload a complete file to a filesystem other than the local one."""
    filesystem = filesystem_of(path)
    if not filesystem.has_dirs():  # in an object store, an object appears only when it is complete
        with_retries(_write)(whole, path)
        return
    # In HDFS, a file is visible while it is written, and a rename does not replace an existing file.
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
        if not whole.tell():
            complete_empty_upload(file)


def check_reachable(path: str) -> None:
    """Raise one of FILE_ERRORS soon if a bucket cannot be listed; Beam would retry for up to ten minutes."""
    filesystem = filesystem_of(path)
    if path.startswith("hdfs:///"):
        raise OSError("use hdfs://FOLDER/..., or hdfs://SERVER/FOLDER/... with --hdfs_full_urls")
    if isinstance(filesystem, S3FileSystem):
        bucket, _ = parse_s3_path(path, object_optional=True)
        try:
            s3_client(filesystem).list_objects_v2(Bucket=bucket, MaxKeys=1)
        except (BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error
    elif isinstance(filesystem, GCSFileSystem):
        bucket, _ = parse_gcs_path(path, object_optional=True)
        # Google's client sends the request when the first item is accessed.
        blobs = gcs_client(filesystem).list_blobs(
            bucket, max_results=1, retry=DEFAULT_RETRY.with_timeout(_LIST_LIMIT_S)
        )
        try:
            next(iter(blobs), None)
        except FILE_ERRORS as error:
            if has_google_credentials():
                raise
            raise OSError(f"{error}; {NO_CREDENTIALS}") from error
