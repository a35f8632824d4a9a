"""What Beam's filesystems lack: listings that are whole, and files that are whole or not there."""

import re
import shutil
import uuid
from collections.abc import Iterator
from typing import IO

from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO, S3Uploader, parse_s3_path
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO, parse_gcs_path
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from hdfs.util import HdfsError

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
)

TEMPORARY_SUFFIX = ".tmp"

_BLOCK_BYTES = 1 << 20
_LIST_LIMIT_S = 10.0


def temporary_name(name: str) -> str:
    """A file's name until it is whole."""
    return f".{name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Whether a name is one of `temporary_name`'s."""
    return bool(re.fullmatch(rf"\..*\.[0-9a-f]{{32}}{re.escape(TEMPORARY_SUFFIX)}", name, re.DOTALL))


def upload(whole: IO[bytes], path: str) -> None:
    """Puts all of a file in place on a filesystem other than the local one."""
    filesystem = FileSystems.get_filesystem(path)
    if not filesystem.has_dirs():  # an object store shows an object when it has all its bytes
        _write(whole, path)
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
    with FileSystems.create(
        path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
    ) as file:
        shutil.copyfileobj(whole, file, _BLOCK_BYTES)
        uploader = getattr(getattr(file, "raw", None), "_uploader", None)
        if not whole.tell() and isinstance(uploader, S3Uploader):
            # S3 refuses an upload without a part, which is what Beam makes of no bytes.
            uploader._write_to_s3(b"")


def match(pattern: str) -> list[FileMetadata]:
    """Files, and on some filesystems folders, that a glob matches; `**` goes into folders."""
    filesystem = FileSystems.get_filesystem(pattern)
    if isinstance(filesystem, HadoopFileSystem):
        folder = re.split(r"[\[*?]", pattern, maxsplit=1)[0].rpartition("/")[0]
        return list(filesystem.match_files(_hdfs_files(filesystem, folder), pattern))
    return FileSystems.match([pattern])[0].metadata_list


def _hdfs_files(filesystem: HadoopFileSystem, folder: str) -> Iterator[FileMetadata]:
    """All files below a folder; Beam lists one folder, and does not tell files from folders in it."""
    _, path = filesystem._parse_url(folder)
    if not filesystem.exists(folder):
        return
    for name, status in filesystem._hdfs_client.list(path, status=True):
        child = filesystem.join(folder, name)
        if status["type"] == "DIRECTORY":
            yield from _hdfs_files(filesystem, child)
        else:
            yield FileMetadata(child, status["length"], status["modificationTime"] / 1000)


def check_reachable(path: str) -> None:
    """Raises one of FILE_ERRORS soon if a bucket cannot be listed; Beam would try for up to ten minutes."""
    filesystem = FileSystems.get_filesystem(path)
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
        next(iter(blobs), None)
