"""Reads files without decompression and writes them atomically, on any filesystem that Beam supports."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

from apache_beam.io.filesystems import FileSystems

from transforms.errors import OutputError, SettingError
from transforms.launcher import halt_if_ended
from transforms.storage.filesystems import (
    FILE_ERRORS,
    TEMPORARY_SUFFIX,
    delete,
    filesystem_of,
    is_temporary,
    open_to_read,
    temporary_name,
    upload,
)
from transforms.storage.globs import escape
from transforms.storage.listing import NOT_UTF8, list_files

_BLOCK_BYTES = 1 << 20
# A remote file is buffered before its upload: up to this size in memory, otherwise on disk.
_SPOOL_BYTES = 64 << 20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: str) -> BinaryIO:
    """Open a file for reading its stored bytes: a `.gz` is not decompressed.

    On a local disk only regular files are opened, since opening a FIFO or reading a device may block forever.

    Raises:
      One of FILE_ERRORS.
    """
    if is_local(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file: {path}")
    return open_to_read(path)


def read_file(path: str) -> bytes:
    """Return the stored bytes of a file; errors as for `open_file`."""
    with open_file(path) as file:
        return file.read()


def read_given(path: str, what: str) -> bytes:
    """Return the bytes of a file that a command names; SettingError if it cannot be read.

    `what` describes the file in the message.
    """
    try:
        return read_file(path)
    except FILE_ERRORS as error:
        raise SettingError(f"{what} {path}: cannot be read ({error}); check the path") from error


def exists(path: str) -> bool:
    return filesystem_of(path).exists(path)


def sha256_of_file(path: str) -> str | None:
    """Return the hash of a file's bytes in hex, read as a stream; None if the file cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except FILE_ERRORS:
        return None
    return digest.hexdigest()


def write_atomic(path: str, data: bytes) -> None:
    """Write a file that appears complete or not at all."""
    with new_file(path) as file:
        file.write(data)


def write_output(path: str, data: bytes) -> None:
    """Write a file of the output with `write_atomic`.

    Raises:
      OutputError: it cannot be written.
    """
    try:
        write_atomic(path, data)
    except FILE_ERRORS as error:
        cause = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(
            f"{path}: cannot be written ({cause}); existing files are complete: "
            "fix the cause and run the same command again"
        ) from error


def delete_files(paths: Iterable[str]) -> None:
    """Delete files; missing files are not an error."""
    delete_found(path for path in paths if exists(path))


def delete_found(paths: Iterable[str]) -> None:
    """Delete files that a listing has just returned, without checking for each whether it exists."""
    found = list(paths)
    if found:
        delete(found)


@contextmanager
def new_file(path: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears complete or not at all.

    On a local disk the bytes go to a temporary file in the same folder, which is renamed at the end.
    Elsewhere they are buffered and uploaded at the end, since Beam would complete an interrupted upload.
    The file does not appear if the run is over for this process; see `launcher.halt_if_ended`.
    """
    if not is_local(path):
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as whole:
            yield whole
            halt_if_ended()
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
        halt_if_ended()
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def temporary_files(folder: str) -> list[str]:
    """Return the temporary files that killed processes left in the subfolders of an output folder."""
    paths = match_files(FileSystems.join(escape(folder), "*", f".*{TEMPORARY_SUFFIX}"))
    return [path for path in paths if is_temporary(path.rsplit("/", 1)[-1])]


def final_path(temporary: str) -> str:
    """Return the path that one of `temporary_files` would have had when complete."""
    folder, name = temporary.rsplit("/", 1)
    return f"{folder}/{name[1:].rsplit('.', 2)[0]}"


def is_local(path: str) -> bool:
    return FileSystems.get_scheme(path) is None


def match_files(pattern: str) -> list[str]:
    """Return the sorted paths of the files in an output folder that a glob matches, including hidden files.

    Raises:
      OSError: a folder cannot be listed; or one of FILE_ERRORS.
    """
    listing = list_files(pattern, hidden=True)
    for path, cause in listing.faults:
        if cause == NOT_UTF8:  # no run gives a file such a name
            continue
        # A broken link is not a file of a run, but may be in any folder.
        if not (is_local(path) and os.path.islink(path) and not os.path.exists(path)):
            raise OSError(f"{path}: {cause}")
    return sorted(path for path, _ in listing.files)


def folds_case(folder: str) -> bool:
    """Return whether `a` and `A` are the same file in a writable folder, as usual on macOS and Windows."""
    if not is_local(folder):
        return False
    # If this process is killed, the next run deletes the file as a temporary one; another run may do so now.
    probe = os.path.join(folder, temporary_name("case"))
    with open(probe, "xb"):
        pass
    try:
        return os.path.exists(os.path.join(folder, os.path.basename(probe).upper()))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(probe)
