"""The shards of a feature folder that its runs wrote, found, and announced before they are written."""

import json
from collections.abc import Iterable
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
from transforms.storage.files import delete_files, delete_found, exists, match_files, open_file, write_output
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import escape

# Names the run at work in a folder; pipeline/output/lock.py writes it.
LOCK_FILE = "lock.json"


class FoundShards(NamedTuple):
    """The files SPLIT/NAME.tfrecord in a folder.

    Attributes:
      own: paths of those that its runs wrote, sorted.
      foreign: paths of all others, sorted.
      is_told: whether a file in `_run` says which are the runs' own. Otherwise none counts as one.
    """

    own: tuple[str, ...]
    foreign: tuple[str, ...]
    is_told: bool

    @property
    def to_read(self) -> tuple[str, ...]:
        """Paths of the shards of features: the runs' own; where no run tells, as in the release, all."""
        return self.own if self.is_told else self.foreign


def find_shards(folder: str) -> FoundShards:
    """Lists a folder's shards.

    Raises:
      SettingError: it cannot be listed, or a list in `_run` is malformed.
    """
    try:
        run_folder = FileSystems.join(folder, RUN_FOLDER)
        paths = match_files(FileSystems.join(escape(folder), "*", f"*{SHARD_SUFFIX}"))
        run_files = match_files(FileSystems.join(escape(run_folder), "*"))
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"{folder}: cannot be listed ({error}); check the path") from error
    own = _own_shards(run_folder, [path.rsplit("/", 1)[-1] for path in run_files])
    is_own = [own is not None and relative_path(path) in own for path in paths]
    return FoundShards(
        tuple(path for path, is_its in zip(paths, is_own, strict=True) if is_its),
        tuple(path for path, is_its in zip(paths, is_own, strict=True) if not is_its),
        own is not None,
    )


def announced_shards(folder: str) -> frozenset[str]:
    """Paths below a folder of the shards that its runs wrote, or were about to write; they may not be there.

    Raises:
      SettingError: as `find_shards`.
    """
    run_folder = FileSystems.join(folder, RUN_FOLDER)
    try:
        paths = match_files(ShardNotes.pattern(folder))
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"{folder}: cannot be listed ({error}); check the path") from error
    return _own_shards(run_folder, [path.rsplit("/", 1)[-1] for path in paths]) or frozenset()


def shards_to_read(folder: str) -> tuple[str, ...]:
    """Paths of the shards of features in a folder, as `FoundShards.to_read`."""
    return find_shards(folder).to_read


def relative_path(path: str) -> str:
    """Path of a shard below its feature folder."""
    return "/".join(path.split("/")[-2:])


def _own_shards(run_folder: str, names: Iterable[str]) -> frozenset[str] | None:
    def read(name: str) -> bytes:
        with open_file(FileSystems.join(run_folder, name)) as file:
            return file.read()

    try:
        return own_shards(names, read)
    except FILE_ERRORS as error:
        raise SettingError(f"{run_folder}: cannot be read ({error}); check the path") from error
    except ValueError as error:
        raise SettingError(f"{run_folder}/{error}; restore it from a copy, or give another folder") from error


class ShardNotes:
    """Notes in `_run`, one for each shard that a run writes, put there before the shard is.

    A note says two things: that a shard of this name is a run's own, and what it held before the run. An
    engine that lost a worker does part of its work again, or all. Meanwhile the shard of a clip that is
    looked up again may have changed; without the note, what the run itself wrote would count as there
    before.

    Args:
      output: the feature folder.
      run: of the lock under which the run writes; None if there is no lock.
    """

    def __init__(self, output: str, run: str | None = None):
        self._run = run
        self._output = output
        self._folder = FileSystems.join(output, RUN_FOLDER)
        self._found: frozenset[str] | None = None

    @staticmethod
    def pattern(output: str) -> str:
        """A glob of the files among which the notes are; see `is_note`."""
        return FileSystems.join(escape(FileSystems.join(output, RUN_FOLDER)), "*")

    def begin(self, found: Iterable[str]) -> None:
        """Starts a run: lists the shards that are there, and then deletes the notes of killed runs.

        Args:
          found: paths below the folder.

        Raises:
          OutputError: it cannot be written.
        """
        write_output(self._path(OWN_SHARDS_FILE), encode_own_shards(found))
        self._delete_notes()

    def end(self) -> None:
        """Deletes the notes, and the list of `begin`, when the list of all shards is written."""
        self._delete_notes()
        delete_files([self._path(OWN_SHARDS_FILE)])

    def owns(self, split: str, name: str) -> bool:
        """Whether a shard is this run's, or was a run's when it began.

        Raises:
          OutputError: what the run listed when it began cannot be read.
        """
        if self._found is None:
            try:
                self._found = _own_shards(self._folder, self._lists()) or frozenset()
            except SettingError as error:
                raise OutputError(str(error)) from error
        return shard_path(split, name) in self._found or exists(self._path(note_name(split, name)))

    def note(self, split: str, name: str, before: bytes) -> None:
        """Announces a shard, with what it held before the run; the first note of a run stays.

        Raises:
          OutputError: it cannot be written, or another run has the folder now.
        """
        self._check_lock()
        path = self._path(note_name(split, name))
        if not exists(path):
            write_output(path, before)

    def read(self, split: str, name: str) -> bytes | None:
        """What `note` was given for a shard; None if the shard is as it was before the run."""
        path = self._path(note_name(split, name))
        if not exists(path):
            return None
        with open_file(path) as file:
            return file.read()

    def _check_lock(self) -> None:
        """A worker may outlive its launcher, whose lock another run takes; without a lock it goes on."""
        path = self._path(LOCK_FILE)
        if self._run is None or not exists(path):
            return
        try:
            with open_file(path) as file:
                is_mine = json.loads(file.read())["run"] == self._run
        except FILE_ERRORS:
            return  # given up at this moment, or replaced
        except (ValueError, KeyError, TypeError):
            is_mine = False
        if not is_mine:
            raise OutputError(
                f"{path}: another run has this folder now, so this one stops; what stands there is whole: "
                "when the other has ended, give the same command again"
            )

    def _lists(self) -> list[str]:
        return [OWN_SHARDS_FILE] if exists(self._path(OWN_SHARDS_FILE)) else []

    def _path(self, name: str) -> str:
        return FileSystems.join(self._folder, name)

    def _delete_notes(self) -> None:
        pattern = self.pattern(self._output)
        delete_found(path for path in match_files(pattern) if is_note(path.rsplit("/", 1)[-1]))
