"""A small file that several programs write at once, where of all of them one succeeds.

| filesystem | made if absent | replaced if unchanged |
|---|---|---|
| local, mounted | hard link, which fails if the name is there, on NFS too | under `flock`, then renamed |
| gs:// | `ifGenerationMatch=0` | `ifGenerationMatch` |
| s3:// | `If-None-Match: *` | `If-Match` with the ETag |
| hdfs:// | renamed, which fails if the name is there | compared, deleted and renamed: not at once |
| others, S3 servers without conditions | looked for, then written: not at once | the same |

`is_atomic` says where the table has no "not at once".
"""

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO, parse_s3_path
from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO, parse_gcs_path
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage.retry import DEFAULT_RETRY

from transforms.storage.files import is_local, write_atomic
from transforms.storage.filesystems import (
    FILE_ERRORS,
    delete,
    filesystem_of,
    open_to_read,
    temporary_name,
    upload,
)

# Answers of S3: another one has it, writes it just now, or the server knows no conditions.
_TAKEN, _UNKNOWN = (
    ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"),
    ("NotImplemented", "501"),
)
_ABSENT = ("NoSuchKey", "404")
# To write a local file whose temporary file is gone before it is in place.
_TRIES = 5


class Version(NamedTuple):
    """A state of a file.

    Attributes:
      data: its bytes.
      token: what the filesystem calls this state; None where it has no name for it.
    """

    data: bytes
    token: Any = None


def is_atomic(path: str) -> bool:
    """Whether of several programs that create or replace a file at once only one can succeed."""
    return is_local(path) or isinstance(filesystem_of(path), GCSFileSystem)


def read(path: str) -> Version | None:
    """The file as it is now; None if there is none.

    Raises:
      one of FILE_ERRORS: it cannot be read.
    """
    filesystem = filesystem_of(path)
    if isinstance(filesystem, S3FileSystem):
        return _read_s3(filesystem, path)
    if isinstance(filesystem, GCSFileSystem):
        blob = _blob(filesystem, path)
        with suppress(NotFound):
            # Of one state, since the token is the state's that was read.
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
    """Makes a file that is not there; None if there is one.

    The bytes must be the writer's alone: after an answer that was lost they tell whose the file is.

    Raises:
      one of FILE_ERRORS: it cannot be written.
    """
    return _write(path, data, None)


def replace(path: str, data: bytes, version: Version) -> Version | None:
    """Replaces a file that is as it was; None if it is another now, or gone.

    Raises:
      one of FILE_ERRORS: it cannot be written.
    """
    return _write(path, data, version)


def remove(path: str, version: Version) -> None:
    """Deletes a file if it has the bytes that it had."""
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
        written = _write_after_look(filesystem, path, data, before)
    if written is None and (now := read(path)) and now.data == data:
        return now  # the first try's answer was lost
    return written


def _write_local(path: str, data: bytes, before: Version | None) -> Version | None:
    for _ in range(_TRIES - 1):
        # The run that has the folder deletes the temporary files of killed runs when it begins, and with them
        # that of a run which asks for the lock at that moment.
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
    """Whether a local file has the bytes that it had, which stays so meanwhile: who changes it waits here."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        yield False
        return
    with file:
        # Some mounted filesystems have no locks; there it is as with those that are not atomic.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            is_same_file = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            is_same_file = False
        yield is_same_file and file.read() == version.data


def _blob(filesystem: GCSFileSystem, path: str) -> Any:
    bucket, name = parse_gcs_path(path)
    return GcsIO(pipeline_options=filesystem._pipeline_options).client.bucket(bucket).blob(name)


def _write_gcs(filesystem: GCSFileSystem, path: str, data: bytes, before: Version | None) -> Version | None:
    blob = _blob(filesystem, path)
    generation = before.token if before else 0
    with suppress(PreconditionFailed, NotFound):
        blob.upload_from_string(data, if_generation_match=generation, retry=DEFAULT_RETRY)
        return Version(data, blob.generation)
    return None


def _s3_request(filesystem: S3FileSystem, name: str, path: str, **arguments: Any) -> Any:
    bucket, key = parse_s3_path(path)
    client = S3IO(options=filesystem._options).client.client
    try:
        return getattr(client, name)(Bucket=bucket, Key=key, **arguments)
    except BotoCoreError as error:
        raise OSError(str(error)) from error


def _read_s3(filesystem: S3FileSystem, path: str) -> Version | None:
    try:
        answer = _s3_request(filesystem, "get_object", path)
        return Version(answer["Body"].read(), answer["ETag"])
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
        if code in _TAKEN or code in _ABSENT:
            return None
        if code in _UNKNOWN:
            return _write_after_look(filesystem, path, data, before)
        raise OSError(str(error)) from error


def _write_after_look(
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
