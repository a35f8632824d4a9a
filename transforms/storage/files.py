"""Files on any filesystem that Beam knows, read as they are and written whole or not at all."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from apache_beam.io.filesystems import FileSystems

from transforms.errors import OutputError
from transforms.storage.filesystems import (
    FILE_ERRORS,
    TEMPORARY_SUFFIX,
    check_reachable,
    delete,
    filesystem_of,
    is_temporary,
    open_to_read,
    temporary_name,
    upload,
)
from transforms.storage.globs import escape
from transforms.storage.listing import list_files

__all__ = ["FILE_ERRORS", "check_reachable"]

_BLOCK_BYTES = 1 << 20
# So much of a remote file is kept in memory until it is whole, and on disk what is more.
_SPOOL_BYTES = 64 << 20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading; a `.gz` stays compressed, since its bytes are what was asked for.

    On a local disk, anything but a regular file is refused without opening it: opening a FIFO or reading a
    device may never end.

    Raises:
      One of FILE_ERRORS.
    """
    if is_local(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, and no file: {path}")
    return open_to_read(path)


def exists(path: str) -> bool:
    return filesystem_of(path).exists(path)


def sha256_of_file(path: str) -> str | None:
    """Hash of a file's bytes, in hex, read as a stream; None if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except FILE_ERRORS:
        return None
    return digest.hexdigest()


def write_atomic(path: str, data: bytes) -> None:
    """Writes a file that appears with all its bytes, or does not appear."""
    with new_file(path) as file:
        file.write(data)


def write_output(path: str, data: bytes) -> None:
    """Writes a file of the output, as `write_atomic`.

    Raises:
      OutputError: it cannot be written.
    """
    try:
        write_atomic(path, data)
    except FILE_ERRORS as error:
        cause = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(
            f"{path}: cannot be written ({cause}); all that stands there is whole: "
            "mend it and run the same command again"
        ) from error


def delete_files(paths: Iterable[str]) -> None:
    """Deletes files; those that are gone already are no error."""
    there = [path for path in paths if exists(path)]
    if there:
        delete(there)


def delete_found(paths: Iterable[str]) -> None:
    """Deletes files that a listing has just shown, without a request for each whether it is there."""
    found = list(paths)
    if found:
        delete(found)


@contextmanager
def new_file(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for writing that appears when it has all its bytes, or does not appear.

    On a local disk the bytes go to a temporary file in the same folder, which then takes the name. Elsewhere
    they are kept until they are all there: an upload that is broken off would be completed by Beam.
    """
    if not is_local(path):
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as whole:
            yield whole
            upload(whole, path)
        return
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, temporary_name(os.path.basename(path)))
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


def temporary_files(folder: str) -> list[str]:
    """What killed processes left of files in the folders below a folder of output, whoever wrote them."""
    paths = match_files(FileSystems.join(escape(folder), "*", f".*{TEMPORARY_SUFFIX}"))
    return [path for path in paths if is_temporary(path.rsplit("/", 1)[-1])]


def final_path(temporary: str) -> str:
    """The path that one of `temporary_files` was to have when it was whole."""
    folder, name = temporary.rsplit("/", 1)
    return f"{folder}/{name[1:].rsplit('.', 2)[0]}"


def is_local(path: str) -> bool:
    return FileSystems.get_scheme(path) is None


def match_files(pattern: str) -> list[str]:
    """Paths of the files that a glob matches in a folder of output, sorted; hidden ones are like any.

    Raises:
      OSError: a folder that it leads to cannot be listed, or one of FILE_ERRORS.
    """
    listing = list_files(pattern, hidden=True)
    for path, cause in listing.faults:
        # A link that leads nowhere holds no file of a run, and may stand in any user's folder.
        if not (is_local(path) and os.path.islink(path) and not os.path.exists(path)):
            raise OSError(f"{path}: {cause}")
    return sorted(path for path, _ in listing.files)


def folds_case(folder: str) -> bool:
    """Whether `a` and `A` are one file in a folder that can be written: usual on macOS and Windows."""
    if not is_local(folder):
        return False
    # Of a killed process it is deleted as other temporary files are; a run that begins does so at any time.
    probe = os.path.join(folder, temporary_name("case"))
    with open(probe, "xb"):
        pass
    try:
        return os.path.exists(os.path.join(folder, os.path.basename(probe).upper()))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(probe)
