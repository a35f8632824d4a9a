"""Files on any filesystem that Beam knows, read as they are and written whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError

# What opening, reading or listing may raise, by filesystem.
FILE_ERRORS = (OSError, BeamIOError, GoogleAPIError, GoogleAuthError, S3ClientError)


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading; a `.gz` stays compressed, since its bytes are what was asked for."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def put_file(path: str, data: bytes) -> None:
    """Writes a file that appears with all its bytes, or does not appear."""
    with new_file(path) as file:
        file.write(data)


@contextmanager
def new_file(path: str) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears when it has all its bytes, or does not appear.

    An object store shows an object only when its upload is complete; one that was broken off is deleted. On
    a local disk the bytes go to a temporary file in the same folder, which then takes the name.
    """
    if not is_local(path):
        file = FileSystems.create(
            path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
        )
        try:
            with file:
                yield file
        except BaseException:
            if FileSystems.exists(path):  # closing it has completed the upload
                FileSystems.delete([path])
            raise
        return
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def is_local(path: str) -> bool:
    return isinstance(FileSystems.get_filesystem(path), LocalFileSystem)


def match_files(pattern: str) -> list[str]:
    """Paths of the files (not folders) that a glob matches, sorted; `**` goes into folders.

    A name that is not UTF-8 comes with escapes: it can travel and be reported, and not be opened.
    """
    found = FileSystems.match([pattern])[0].metadata_list
    paths = (m.path for m in found if not _is_folder(m.path))
    return sorted(path.encode(errors="backslashreplace").decode() for path in paths)


def folds_case(folder: str) -> bool:
    """Whether `a` and `A` are one file in a folder that can be written: usual on macOS and Windows."""
    if not is_local(folder):
        return False
    probe = os.path.join(folder, f".case-{uuid.uuid4().hex}")
    put_file(probe, b"")
    try:
        return os.path.exists(os.path.join(folder, os.path.basename(probe).upper()))
    finally:
        os.unlink(probe)


def _is_folder(path: str) -> bool:
    return path.endswith("/") or (is_local(path) and os.path.isdir(path))
