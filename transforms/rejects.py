"""Lists of rejected clips, read again: to try just those, and to keep those that a run says nothing of."""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from transforms.clips import Clip, Key, RejectedClip
from transforms.errors import SettingError
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import matches_below, plain_path

# What `KeepRejected` takes, by name: paths of the files that a run reads, and what it finds in them.
READ, TRIED = "read", "tried"


class TriedClip(NamedTuple):
    """A clip, or a fault, that a run finds in a file.

    Attributes:
      offset, key: of the clip.
      is_whole: of a recording whose parts are not known yet.
    """

    offset: int | None
    key: Key
    is_whole: bool

    @classmethod
    def of(cls, clip: Clip | RejectedClip) -> "TriedClip":
        return cls(clip.offset, clip.key, isinstance(clip, Clip) and clip.end_s is None)

    def is_of(self, rejected: RejectedClip) -> bool:
        """Whether a clip that was rejected before is this one, or a part of it."""
        if self.offset != rejected.offset:
            return False
        if self.is_whole:
            return self.key[:2] == rejected.key[:2] and self.key[2] <= rejected.key[2]
        return self.key == rejected.key


class RejectIndex:
    """Rejected clips by file.

    Args:
      rejected: in any order.
    """

    def __init__(self, rejected: Iterable[RejectedClip]):
        # A shard may have as many as it has clips, so each is found by its place.
        self._by_place: dict[tuple[str, int | None], list[RejectedClip]] = defaultdict(list)
        # A fault may hide which clip it was, and how many more: all of its shard from there on are tried.
        self._hidden_from: dict[str, int] = {}
        for clip in rejected:
            self._by_place[clip.file, clip.offset].append(clip)
            if clip.offset is not None and not clip.video_id:
                self._hidden_from[clip.file] = min(clip.offset, self._hidden_from.get(clip.file, clip.offset))

    @property
    def files(self) -> list[str]:
        """Paths of the audio files and shards, sorted."""
        return sorted({file for file, _ in self._by_place})

    def unlisted(self, path: str) -> list[RejectedClip]:
        """The rejects of a folder that could not be listed."""
        return [clip for clip in self._by_place.get((path, None), ()) if clip.is_folder]

    def covers(self, clip: Clip | RejectedClip) -> bool:
        """Whether a clip or fault that is read now was rejected then."""
        hidden_from = self._hidden_from.get(clip.file)
        if clip.offset is not None and hidden_from is not None and clip.offset >= hidden_from:
            return True
        tried = TriedClip.of(clip)
        return any(tried.is_of(rejected) for rejected in self._by_place.get((clip.file, clip.offset), ()))


@dataclass(frozen=True)
class RejectFiles:
    """Lists of rejected clips: what a stage carries in place of their lines.

    Attributes:
      paths: of the files.
      sha256: of all their bytes; a process that read another state of the files reads them again.
    """

    paths: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, paths: Sequence[str]) -> "RejectFiles":
        """The files as they are now.

        Raises:
          SettingError: one of them cannot be read.
        """
        digest = hashlib.sha256()
        for path in paths:
            digest.update(read_list(path))
        return cls(tuple(paths), digest.hexdigest())

    def index(self) -> RejectIndex:
        """Reads them all; a second call in a process returns the same index.

        Raises:
          SettingError: a file cannot be read, or is no such list.
        """
        return _read_index(self)


@functools.lru_cache(maxsize=1)
def _read_index(source: RejectFiles) -> RejectIndex:
    return RejectIndex(clip for path in source.paths for clip in read_rejected(path))


def read_rejected(path: str) -> Iterator[RejectedClip]:
    """Yields the clips of one list.

    Raises:
      SettingError: it cannot be read, or a line is no rejected clip.
    """
    # Not splitlines: a file's name may hold other separators.
    for number, line in enumerate(read_list(path).split(b"\n"), 1):
        if line:
            try:
                yield RejectedClip.from_json(line.decode())
            except ValueError as error:
                raise SettingError(
                    f"rejects {path}, line {number}: {error}; give the lists that a run wrote"
                ) from error


def read_list(path: str) -> bytes:
    """The bytes of a list.

    Raises:
      SettingError: it cannot be read.
    """
    try:
        with open_file(path) as file:
            return file.read()
    except FILE_ERRORS as error:
        raise SettingError(f"rejects {path}: cannot be read ({error}); check the path") from error


@dataclass
class KeepRejected(beam.PTransform):
    """Path of each file that a run reads -> RejectedClip of earlier runs that this one says nothing of.

    Where the run tries only the clips of some lists, it takes READ and TRIED: with another split, or other
    segments, it may find none of those clips.

    Attributes:
      earlier: lists of the runs before.
      tried: where the run tries only the clips of some lists, those.
      patterns: globs of the run's inputs. Where they reach a folder that could not be listed before, this run
        has listed it again.
      split: of clips to which the run's inputs give none.
    """

    earlier: Sequence[str]
    tried: RejectFiles | None = None
    patterns: Sequence[str] = ()
    split: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for inputs by name
    def expand(
        self, inputs: beam.PCollection[str] | Mapping[str, beam.PCollection]
    ) -> beam.PCollection[RejectedClip]:
        if isinstance(inputs, beam.PCollection):
            inputs = {READ: inputs}
        files = inputs[READ]
        if not self.earlier:  # and all paths would be shuffled for nothing
            return files.pipeline | "NoLists" >> beam.Create([], reshuffle=False)
        earlier = (
            files.pipeline
            | "Lists" >> beam.Create(sorted(self.earlier), reshuffle=False)
            | "ReadRejected" >> beam.FlatMap(lambda path: ((clip.file, clip) for clip in read_rejected(path)))
            # (path, RejectedClip)
        )
        groups = {"earlier": earlier, READ: files | "KeyByPath" >> beam.Map(lambda path: (path, None))}
        if self.tried is not None and TRIED in inputs:
            groups[TRIED] = inputs[TRIED] | "KeyByFile" >> beam.Map(
                lambda clip: (clip.file, tuple(TriedClip.of(clip)))
            )
        return (
            groups
            | "JoinByPath" >> beam.CoGroupByKey()
            # (path, {"earlier": [RejectedClip], READ: [None], TRIED: [tuple of a TriedClip]})
            | "Keep" >> beam.FlatMap(_kept, self.tried, self.patterns, self.split)
        )


def _kept(
    group: tuple[str, dict[str, Iterable]], tried: RejectFiles | None, patterns: Sequence[str], split: str
) -> Iterator[RejectedClip]:
    path, values = group
    is_read = bool(list(values[READ]))
    found: dict[int | None, list[TriedClip]] = defaultdict(list)
    for row in values.get(TRIED, ()):
        found[row[0]].append(TriedClip(*row))
    # A duplicate may be listed with two inputs that were its record's at their time.
    earlier = {replace(clip, message=""): clip for clip in sorted(set(values["earlier"]), key=repr)}
    for clip in earlier.values():
        if clip.is_folder and any(matches_below(plain_path(pattern), path) for pattern in patterns):
            continue
        is_tried = is_read
        if is_read and tried is not None:
            is_tried = tried.index().covers(clip)
            if clip.video_id:
                is_tried &= any(other.is_of(clip) for other in found[clip.offset])
            elif not clip.is_folder:  # hidden by a fault: tried with whatever stands there now
                is_tried &= clip.split == split
        if not is_tried:
            yield clip
