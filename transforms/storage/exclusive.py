"""Creates and replaces small files such that only one of several concurrent programs succeeds.

| filesystem | create if absent | replace if unchanged |
|---|---|---|
| local, mounted | hard link, which fails if the name exists, on NFS too | rename under `flock` |
| gs:// | `ifGenerationMatch=0` | `ifGenerationMatch` |
| s3:// | `If-None-Match: *` | `If-Match` with the ETag |
| hdfs:// | rename, which fails if the name exists | compare, delete, rename: not atomic |
| others, S3 servers without conditions | check, then write: not atomic | the same |

`is_atomic` returns True only for local and mounted filesystems and gs://: an S3 server may lack conditions.
All functions raise one of FILE_ERRORS if the file cannot be read or written.
"""

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import parse_s3_path
from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import parse_gcs_path
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from botocore.exceptions import BotoCoreError, ClientError, ResponseStreamingError
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage.retry import DEFAULT_RETRY

from transforms.beam_internals import gcs_client, s3_client
from transforms.storage.files import is_local, write_atomic
from transforms.storage.filesystems import (
    FILE_ERRORS,
    delete,
    filesystem_of,
    open_to_read,
    temporary_name,
    upload,
    with_retries,
)

# Error codes of S3: another program has written the file, is writing it, or has deleted it; the server lacks
# conditions.
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey", "404")
_ABSENT, _NOT_IMPLEMENTED = ("NoSuchKey", "404"), ("NotImplemented", "501")
# Attempts to write a local file; a run that begins may delete the temporary file of an attempt.
_TRIES = 5


class Version(NamedTuple):
    """A state of a file: its bytes, and the filesystem's identifier of this state if there is one."""

    data: bytes
    token: Any = None


def is_atomic(path: str) -> bool:
    """Return whether only one of several programs that create or replace a file concurrently can succeed."""
    return is_local(path) or isinstance(filesystem_of(path), GCSFileSystem)


def read(path: str) -> Version | None:
    """Return the current state of a file; None if it does not exist."""
    filesystem = filesystem_of(path)
    if isinstance(filesystem, S3FileSystem):
        return _read_s3(filesystem, path)
    if isinstance(filesystem, GCSFileSystem):
        blob = _blob(filesystem, path)
        with suppress(NotFound):
            # The download sets the generation, so that data and token belong to the same state.
            data = blob.download_as_bytes(retry=DEFAULT_RETRY)
            return Version(data, blob.generation)
        return None
    try:
        with open_to_read(path) as file:
            return Version(file.read())
    except FILE_ERRORS:
        if filesystem.exists(path):
            raise
        return None


def create(path: str, data: bytes) -> Version | None:
    """Create a file; return None if it exists.

    The bytes must be unique to the writer: if a response is lost, they show whether this writer succeeded.
    """
    return _write(path, data, None)


def replace(path: str, data: bytes, version: Version) -> Version | None:
    """Replace a file that still has the given state; return None if it has changed or does not exist."""
    return _write(path, data, version)


def remove(path: str, version: Version) -> None:
    """Delete a file if it still has the given bytes."""
    if is_local(path):
        with _held(path, version) as is_same:
            if is_same:
                os.unlink(path)
        return
    now = read(path)
    if now and now.data == version.data:
        delete([path])


def _write(path: str, data: bytes, before: Version | None) -> Version | None:
    filesystem = filesystem_of(path)
    if is_local(path):
        return _write_local(path, data, before)
    if isinstance(filesystem, GCSFileSystem):
        written = _write_gcs(filesystem, path, data, before)
    elif isinstance(filesystem, S3FileSystem):
        written = _write_s3(filesystem, path, data, before)
    else:
        written = _write_after_check(filesystem, path, data, before)
    if written is None and (now := read(path)) and now.data == data:
        return now  # the first attempt succeeded, but its response was lost
    return written


def _write_local(path: str, data: bytes, before: Version | None) -> Version | None:
    for _ in range(_TRIES - 1):
        # A run that begins deletes the temporary files of killed runs, and also that of a run that asks for
        # the lock at that moment.
        with suppress(FileNotFoundError):
            return _write_local_once(path, data, before)
    return _write_local_once(path, data, before)


def _write_local_once(path: str, data: bytes, before: Version | None) -> Version | None:
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, temporary_name(os.path.basename(path)))
    write_atomic(temporary, data)
    try:
        if before is None:
            with suppress(FileExistsError):
                os.link(temporary, path)
                return Version(data)
            return None
        with _held(path, before) as is_same:
            if is_same:
                os.replace(temporary, path)
                return Version(data)
        return None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def _held(path: str, version: Version) -> Iterator[bool]:
    """Lock a local file and yield whether it still has the given bytes; other writers wait for the lock."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        yield False
        return
    with file:
        # Some mounted filesystems have no locks; the replacement is not atomic there.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            is_same_file = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            is_same_file = False
        yield is_same_file and file.read() == version.data


def _blob(filesystem: GCSFileSystem, path: str) -> Any:
    bucket, name = parse_gcs_path(path)
    return gcs_client(filesystem).bucket(bucket).blob(name)


def _write_gcs(filesystem: GCSFileSystem, path: str, data: bytes, before: Version | None) -> Version | None:
    blob = _blob(filesystem, path)
    generation = before.token if before else 0
    with suppress(PreconditionFailed, NotFound):
        blob.upload_from_string(data, if_generation_match=generation, retry=DEFAULT_RETRY)
        return Version(data, blob.generation)
    return None


def _s3_request(filesystem: S3FileSystem, name: str, path: str, **arguments: Any) -> Any:
    bucket, key = parse_s3_path(path)
    try:
        return getattr(s3_client(filesystem), name)(Bucket=bucket, Key=key, **arguments)
    except BotoCoreError as error:
        raise OSError(str(error)) from error


@with_retries
def _read_s3(filesystem: S3FileSystem, path: str) -> Version | None:
    try:
        answer = _s3_request(filesystem, "get_object", path)
        return Version(answer["Body"].read(), answer["ETag"])
    except ResponseStreamingError as error:  # boto3 does not retry the body of a response
        raise ConnectionError(str(error)) from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return None
        raise OSError(str(error)) from error


def _write_s3(filesystem: S3FileSystem, path: str, data: bytes, before: Version | None) -> Version | None:
    condition = {"IfMatch": before.token} if before else {"IfNoneMatch": "*"}
    try:
        answer = _s3_request(filesystem, "put_object", path, Body=data, **condition)
        return Version(data, answer["ETag"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _CHANGED:
            return None
        if code in _NOT_IMPLEMENTED:
            return _write_after_check(filesystem, path, data, before)
        raise OSError(str(error)) from error


def _write_after_check(
    filesystem: FileSystem, path: str, data: bytes, before: Version | None
) -> Version | None:
    now = read(path)
    if (now and now.data) != (before and before.data):
        return None
    if not isinstance(filesystem, HadoopFileSystem):
        upload(io.BytesIO(data), path)
        return read(path)
    folder, name = FileSystems.split(path)
    temporary = FileSystems.join(folder, temporary_name(name))
    upload(io.BytesIO(data), temporary)
    try:
        if before:
            filesystem.delete([path])
        filesystem.rename([temporary], [path])
        return Version(data)
    except BeamIOError:
        if not filesystem.exists(path):
            raise
        filesystem.delete([temporary])
        return None
