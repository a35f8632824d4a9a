"""Lists the files that a glob matches, on any filesystem that Beam supports, and reports unreadable folders.

Beam's own listing of a local disk does not follow links and silently skips folders that it cannot enter. Its
globs differ from those of shells, on buckets too: `**/` needs at least one folder, and hidden files match
wildcards.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from apache_beam.io.localfilesystem import LocalFileSystem

from transforms.beam_internals import hdfs_list, hdfs_status, list_objects
from transforms.storage.filesystems import FILE_ERRORS, filesystem_of
from transforms.storage.globs import Glob, States, has_magic, join, plain_path, split_glob, unescape

# A broken link may have led to a folder. A link to a file usually has the file's extension.
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,4}$")

_Identity: TypeAlias = tuple[int, int]  # device and inode
# The identities of a folder and of its parents; a cycle of links leads back to one of them.
_Trail: TypeAlias = tuple[_Identity | None, ...]

NOT_UTF8 = "its path is not UTF-8; rename it"


@dataclass
class Listing:
    """The result of a listing.

    Attributes:
      files: (path, size in bytes) of each match, in any order. It includes sockets, broken links and the like
        with size 0; opening them reports the problem.
      faults: (path, cause) of folders that cannot be listed, whose files are therefore unknown; and of files
        whose path is not UTF-8, with the cause NOT_UTF8 and the path in escaped form.
      hidden: number of files and folders skipped because their names begin with a dot. A hidden folder counts
        once.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0


class _Entry(NamedTuple):
    """An entry of a folder. The attributes of a link are those of its target."""

    name: str
    size: int  # in bytes; 0 if it is not a regular file
    is_folder: bool = False
    identity: _Identity | None = None  # of a folder, on filesystems with links
    fault: str | None = None  # why it is unknown whether this is a folder


# (folder, the only names of interest or None for all) -> entries.
_ListFolder: TypeAlias = Callable[[str, list[str] | None], Iterable[_Entry]]


def list_files(pattern: str, hidden: bool = False) -> Listing:
    """List the files (not folders) that a glob matches; `transforms.storage.globs` has the rules of globs.

    An existing path is taken literally, even if it has wildcard characters. Links are followed, cycles are
    not. A file whose path is not UTF-8 is a fault, with an escaped path, because ids and lists are UTF-8.

    Args:
      pattern: a glob or path.
      hidden: whether wildcards match names that begin with a dot.

    Raises:
      ValueError: it is not a valid glob; see `split_glob`.
      One of FILE_ERRORS: nothing can be listed.
    """
    pattern = plain_path(pattern)
    filesystem = filesystem_of(pattern)
    listing = Listing()
    if isinstance(filesystem, LocalFileSystem):
        _list_local(pattern, listing, hidden)
    elif isinstance(filesystem, HadoopFileSystem):
        _list_hdfs(filesystem, pattern, listing, hidden)
    else:
        _list_objects(filesystem, pattern, listing, hidden)
    # The escaped form could be another file's path, so such a file is never opened.
    unnamed = [path for path, _ in listing.files if _as_text(path) != path]
    listing.files = [(path, size) for path, size in listing.files if _as_text(path) == path]
    listing.faults = [(_as_text(path), _as_text(cause)) for path, cause in listing.faults]
    listing.faults += [(_as_text(path), NOT_UTF8) for path in unnamed]
    return listing


def _as_text(path: str) -> str:
    """Escape the bytes of a path that are not UTF-8."""
    return path.encode(errors="backslashreplace").decode()


def _literal_path(pattern: str, exists: Callable[[str], bool]) -> str | None:
    """Return a pattern that is a path; None for a glob, or for a folder with a slash at the end."""
    if pattern.endswith("/"):
        return None
    return pattern if exists(pattern) or not has_magic(pattern) else None


def _list_local(pattern: str, listing: Listing, hidden: bool) -> None:
    if (literal := _literal_path(pattern, _is_there)) is not None:
        for path in (literal, unescape(literal)):
            if _is_there(path):
                entry = _local_entry(path, path, os.path.islink(path), os.path.isdir(path))
                if not entry.is_folder:
                    listing.files.append((path, entry.size))
                return
        return
    folder, glob = split_glob(pattern, _is_there)
    if not _is_there(folder or "."):
        return
    status = os.stat(folder or ".")
    if stat.S_ISDIR(status.st_mode):
        _walk(folder, glob, _list_local_folder, listing, hidden, ((status.st_dev, status.st_ino),))


def _is_there(path: str) -> bool:
    """Return whether a name exists, even as a broken link; raise OSError if this cannot be determined."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _list_local_folder(folder: str, names: list[str] | None) -> Iterator[_Entry]:
    if names is not None:  # works also in a folder that can be entered but not listed
        for path, name in ((join(folder, name), name) for name in names):
            if _is_there(path):
                yield _local_entry(path, name, os.path.islink(path), os.path.isdir(path))
        return
    with os.scandir(folder or ".") as entries:
        for found in entries:
            yield _local_entry(
                found.path, found.name, found.is_symlink(), found.is_dir(follow_symlinks=False)
            )


def _local_entry(path: str, name: str, is_link: bool, is_folder: bool) -> _Entry:
    try:
        status = os.stat(path)
    except OSError as error:
        cause = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and is_link:
            cause = f"leads to {os.readlink(path)}, which does not exist"
        may_be_folder = is_folder or (is_link and not _EXTENSION.search(name))
        return _Entry(name, 0, fault=cause if may_be_folder else None)
    if stat.S_ISDIR(status.st_mode):
        return _Entry(name, 0, True, (status.st_dev, status.st_ino))
    return _Entry(name, status.st_size if stat.S_ISREG(status.st_mode) else 0)


def _list_hdfs(filesystem: HadoopFileSystem, pattern: str, listing: Listing, hidden: bool) -> None:
    if (literal := _literal_path(pattern, filesystem.exists)) is not None:
        for url in dict.fromkeys((literal, unescape(literal))):
            status = hdfs_status(filesystem, url)
            if status is not None and status["type"] != "DIRECTORY":
                listing.files.append((url, status["length"]))
        return
    folder, glob = split_glob(pattern, filesystem.exists)
    if filesystem.exists(folder):
        _walk(folder, glob, partial(_list_hdfs_folder, filesystem), listing, hidden)


def _list_hdfs_folder(filesystem: HadoopFileSystem, folder: str, names: list[str] | None) -> Iterator[_Entry]:
    for name, status in hdfs_list(filesystem, folder):
        if names is None or name in names:
            yield _Entry(name, status["length"], status["type"] == "DIRECTORY")


def _list_objects(filesystem: FileSystem, pattern: str, listing: Listing, hidden: bool) -> None:
    """List an object store, whose folders are only slashes in the names of objects."""
    if (literal := _literal_path(pattern, filesystem.exists)) is not None:
        for path in dict.fromkeys((literal, unescape(literal))):
            if filesystem.exists(path):
                listing.files.append((path, filesystem.metadata(path).size_in_bytes))
        return
    folder, glob = split_glob(pattern)
    folders = {"": glob.start}

    def enter(path: str) -> States:
        if path not in folders:
            parent, slash, name = path.rpartition("/")
            before = enter(parent) if slash else glob.start
            folders[path] = glob.step(before, name, hidden)
            if not folders[path]:
                listing.hidden += glob.may_match_below(glob.step(before, name, hidden=True))
        return folders[path]

    for found in list_objects(filesystem, join(folder, glob.prefix)):
        parent, slash, name = found.path[len(folder) + 1 :].rpartition("/")
        before = enter(parent) if slash else glob.start
        if not name:  # an object that represents a folder
            continue
        if glob.matches(glob.step(before, name, hidden)):
            listing.files.append((found.path, found.size_in_bytes))
        else:
            listing.hidden += glob.matches(glob.step(before, name, hidden=True))


def _walk(
    folder: str, glob: Glob, list_folder: _ListFolder, listing: Listing, hidden: bool, trail: _Trail = ()
) -> None:
    """Walk through a folder and the subfolders that a glob may match; raise only its own errors."""
    pending: list[tuple[str, States, _Trail]] = [(folder, glob.start, trail)]
    while pending:
        parent, states, trail = pending.pop()
        try:
            for entry in list_folder(parent, glob.literal_names(states)):
                path, after = join(parent, entry.name), glob.step(states, entry.name, hidden)
                if not after:
                    unhidden = glob.step(states, entry.name, hidden=True)
                    matches = glob.may_match_below if entry.is_folder else glob.matches
                    listing.hidden += matches(unhidden)
                elif entry.is_folder:
                    is_cycle = entry.identity is not None and entry.identity in trail
                    if glob.may_match_below(after) and not is_cycle:
                        pending.append((path, after, (*trail, entry.identity)))
                elif glob.matches(after):
                    listing.files.append((path, entry.size))
                elif entry.fault is not None:
                    listing.faults.append((path, entry.fault))
        except FILE_ERRORS as error:
            if parent == folder:
                raise
            cause = getattr(error, "strerror", None) or " ".join(str(error).split())
            listing.faults.append((parent, cause))
