"""Finds the shards that runs wrote to a feature folder, and notes shards before they are written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from transforms.audioset.layout import SHARD_SUFFIX, shard_path
from transforms.audioset.own_shards import (
    OWN_SHARDS_FILE,
    RUN_FOLDER,
    encode_own_shards,
    is_note,
    note_name,
    own_shards,
)
from transforms.errors import OutputError, SettingError
from transforms.storage.files import delete_files, delete_found, exists, match_files, read_file, write_output
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import escape

# The lock file, which names the active run; pipeline/output/lock.py writes it.
LOCK_FILE = "lock.json"


class FoundShards(NamedTuple):
    """The files SPLIT/NAME.tfrecord in a folder.

    Attributes:
      own: sorted paths of the shards that runs wrote.
      foreign: sorted paths of all others.
      has_own_list: whether a file in `_run` lists the runs' own shards. Otherwise all are foreign.
    """

    own: tuple[str, ...]
    foreign: tuple[str, ...]
    has_own_list: bool

    @property
    def to_read(self) -> tuple[str, ...]:
        """Paths of the runs' own shards; all shards if there is no list, as in the release."""
        return self.own if self.has_own_list else self.foreign


def find_shards(folder: str) -> FoundShards:
    """Find a folder's shards. Raise SettingError if the folder or a list in `_run` cannot be read."""
    paths = _list_files(folder, "*", f"*{SHARD_SUFFIX}")
    own = announced_shards(folder)
    names = own or frozenset()
    return FoundShards(
        tuple(path for path in paths if relative_path(path) in names),
        tuple(path for path in paths if relative_path(path) not in names),
        own is not None,
    )


def announced_shards(folder: str) -> frozenset[str] | None:
    """Return the paths, below a folder, of shards that runs wrote or noted; a noted one may not exist.

    The result is None if no file in `_run` lists or notes shards. Errors are those of `find_shards`.
    """
    paths = _list_files(folder, RUN_FOLDER, "*")
    return _own_shards(FileSystems.join(folder, RUN_FOLDER), [path.rsplit("/", 1)[-1] for path in paths])


def relative_path(path: str) -> str:
    """Return the path of a shard below its feature folder."""
    return "/".join(path.split("/")[-2:])


def _list_files(folder: str, *pattern: str) -> list[str]:
    try:
        return match_files(FileSystems.join(escape(folder), *pattern))
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"{folder}: cannot be listed ({error}); check the path") from error


def _own_shards(run_folder: str, names: Iterable[str]) -> frozenset[str] | None:
    try:
        return own_shards(names, lambda name: read_file(FileSystems.join(run_folder, name)))
    except FILE_ERRORS as error:
        raise SettingError(f"{run_folder}: cannot be read ({error}); check the path") from error
    except ValueError as error:
        raise SettingError(f"{run_folder}/{error}; restore it from a copy, or give another folder") from error


class ShardNotes:
    """Notes in `_run`: one file per shard that a run writes, written before the shard.

    A note records two things: that the shard belongs to a run, and the index of its records before the run. A
    runner that lost a worker repeats part of its work, or all. When it then looks up a clip again, the shard
    may have changed; without the note, records of this run would count as records that existed before.

    Its methods raise OutputError if a file cannot be written, if the list of `begin` cannot be read, or if
    another run has the folder now.

    Args:
      output: the feature folder.
      run: the run's id in the lock file; None if there is no lock.
    """

    def __init__(self, output: str, run: str | None = None):
        self._run = run
        self._output = output
        self._folder = FileSystems.join(output, RUN_FOLDER)
        self._found: frozenset[str] | None = None

    @staticmethod
    def pattern(output: str) -> str:
        """Return a glob of the files in `_run`, which include the notes; see `is_note`."""
        return FileSystems.join(escape(FileSystems.join(output, RUN_FOLDER)), "*")

    def begin(self, found: Iterable[str]) -> None:
        """Start a run: write the list of existing shards, and then delete the notes of killed runs.

        Args:
          found: paths of the runs' own shards below the folder.
        """
        write_output(self._path(OWN_SHARDS_FILE), encode_own_shards(found))
        self._delete_notes()

    def end(self) -> None:
        """Delete the notes and the list of `begin`, after the list of all shards was written."""
        self._delete_notes()
        delete_files([self._path(OWN_SHARDS_FILE)])

    def owns(self, split: str, name: str) -> bool:
        """Return whether this run or an earlier one wrote or noted a shard."""
        if self._found is None:
            lists = [OWN_SHARDS_FILE] if exists(self._path(OWN_SHARDS_FILE)) else []
            try:
                self._found = _own_shards(self._folder, lists) or frozenset()
            except SettingError as error:
                raise OutputError(str(error)) from error
        return shard_path(split, name) in self._found or exists(self._path(note_name(split, name)))

    def note(self, split: str, name: str, before: bytes) -> None:
        """Write the note of a shard with its index before the run; an existing note stays as it is."""
        self._check_lock()
        path = self._path(note_name(split, name))
        if not exists(path):
            write_output(path, before)

    def read(self, split: str, name: str) -> bytes | None:
        """Return the bytes that `note` stored for a shard; None if the run has not changed the shard."""
        path = self._path(note_name(split, name))
        return read_file(path) if exists(path) else None

    def _check_lock(self) -> None:
        """Raise OutputError if another run has the lock; a worker may outlive its launcher."""
        path = self._path(LOCK_FILE)
        if self._run is None or not exists(path):
            return
        try:
            is_mine = json.loads(read_file(path))["run"] == self._run
        except FILE_ERRORS:
            return  # the lock file was deleted or replaced at this moment
        except (ValueError, KeyError, TypeError):
            is_mine = False
        if not is_mine:
            raise OutputError(
                f"{path}: another run has this folder now, so this one stops; all files are complete. Run "
                "the same command again when the other run has ended"
            )

    def _path(self, name: str) -> str:
        return FileSystems.join(self._folder, name)

    def _delete_notes(self) -> None:
        pattern = self.pattern(self._output)
        delete_found(path for path in match_files(pattern) if is_note(path.rsplit("/", 1)[-1]))


@dataclass(frozen=True)
class UnchangedShards:
    """Takes the place of `ShardNotes` where no run is active.

    Attributes:
      own: paths below the folder of the shards that runs wrote.
    """

    own: frozenset[str]

    def owns(self, split: str, name: str) -> bool:
        return shard_path(split, name) in self.own

    def read(self, split: str, name: str) -> None:
        """Return None, since no run has changed the shard."""
