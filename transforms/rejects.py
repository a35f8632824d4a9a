"""Reads lists of rejected clips, to retry those clips or to keep rejects that a run did not revisit.

All functions that read a list raise SettingError if it cannot be read, or if a line is not a rejected clip.
"""

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
from transforms.stage import Stage
from transforms.storage.files import read_given
from transforms.storage.globs import matches_below, plain_path

# Inputs of `KeepRejected`: paths of the files that a run reads, and the clips and faults in them.
READ, TRIED = "read", "tried"


class TriedClip(NamedTuple):
    """A clip or a fault that a run finds in a file."""

    offset: int | None
    key: Key
    is_whole: bool  # whether it is a recording that may yet be cut into clips

    @classmethod
    def of(cls, clip: Clip | RejectedClip) -> "TriedClip":
        return cls(clip.offset, clip.key, isinstance(clip, Clip) and clip.end_s is None)

    def includes(self, rejected: RejectedClip) -> bool:
        """Return whether an earlier rejected clip is this clip or a part of it."""
        if self.offset != rejected.offset:
            return False
        if self.is_whole:
            return self.key[:2] == rejected.key[:2] and self.key[2] <= rejected.key[2]
        return self.key == rejected.key


class RejectIndex:
    """Rejected clips by file."""

    def __init__(self, rejected: Iterable[RejectedClip]):
        # By offset too, since all clips of a shard may be rejected.
        self._by_offset: dict[tuple[str, int | None], list[RejectedClip]] = defaultdict(list)
        # A fault without an id may affect any number of clips: all clips of the shard from its offset are
        # tried.
        self._hidden_from: dict[str, int] = {}
        for clip in rejected:
            self._by_offset[clip.file, clip.offset].append(clip)
            if clip.offset is not None and not clip.video_id:
                self._hidden_from[clip.file] = min(clip.offset, self._hidden_from.get(clip.file, clip.offset))

    @property
    def files(self) -> list[str]:
        """Paths of the audio files and shards, sorted."""
        return sorted({file for file, _ in self._by_offset})

    def unlisted(self, path: str) -> list[RejectedClip]:
        """Return the rejects for a path that is a folder that could not be listed."""
        return [clip for clip in self._by_offset.get((path, None), ()) if clip.is_folder]

    def covers(self, clip: Clip | RejectedClip) -> bool:
        """Return whether a clip or fault matches one of the rejects."""
        hidden_from = self._hidden_from.get(clip.file)
        if clip.offset is not None and hidden_from is not None and clip.offset >= hidden_from:
            return True
        tried = TriedClip.of(clip)
        return any(tried.includes(rejected) for rejected in self._by_offset.get((clip.file, clip.offset), ()))


@dataclass(frozen=True)
class RejectFiles:
    """Lists of rejected clips. Stages carry this instead of the lines of the lists.

    Attributes:
      paths: paths of the lists.
      sha256: of all their bytes; if it changes, a process reads the files again.
    """

    paths: tuple[str, ...]
    sha256: str

    @classmethod
    def of(cls, paths: Sequence[str]) -> "RejectFiles":
        """Return the lists in their current state."""
        digest = hashlib.sha256()
        for path in paths:
            digest.update(read_given(path, "rejects"))
        return cls(tuple(paths), digest.hexdigest())

    def index(self) -> RejectIndex:
        """Read all lists; a second call in a process returns the same index."""
        return _read_index(self)


@functools.lru_cache(maxsize=1)
def _read_index(source: RejectFiles) -> RejectIndex:
    return RejectIndex(clip for path in source.paths for clip in read_rejected(path))


def read_rejected(path: str) -> Iterator[RejectedClip]:
    """Yield the clips of one list."""
    # Not splitlines: a file name may contain other line separators.
    for number, line in enumerate(read_given(path, "rejects").split(b"\n"), 1):
        if line:
            try:
                yield RejectedClip.from_json(line.decode())
            except ValueError as error:
                raise SettingError(
                    f"rejects {path}, line {number}: {error}; give the lists that a run wrote"
                ) from error


@dataclass
class KeepRejected(Stage):
    """Path of each file that a run reads -> RejectedClip: earlier rejects that this run did not revisit.

    If the run retries only the clips of some lists, this takes a dict of READ and TRIED: with another split
    or other segments, the run may not find all those clips.

    Attributes:
      earlier: paths of the lists of earlier runs.
      tried: the lists that the run retries; None if it reads all clips.
      patterns: globs of the run's inputs. This run has listed every folder below them again.
      split: the split of clips without one in the run's inputs.
    """

    earlier: Sequence[str]
    tried: RejectFiles | None = None
    patterns: Sequence[str] = ()
    split: str = ""

    @no_annotations  # Beam has no type hint for inputs by name
    def expand(
        self, inputs: beam.PCollection[str] | Mapping[str, beam.PCollection]
    ) -> beam.PCollection[RejectedClip]:
        if isinstance(inputs, beam.PCollection):
            inputs = {READ: inputs}
        files = inputs[READ]
        if not self.earlier:  # avoids a shuffle of all paths
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
    # A duplicate may be listed twice, with different messages: the source of its record may have changed.
    earlier = {replace(clip, message=""): clip for clip in sorted(set(values["earlier"]), key=repr)}
    for clip in earlier.values():
        if clip.is_folder and any(matches_below(plain_path(pattern), path) for pattern in patterns):
            continue
        is_tried = is_read
        if is_read and tried is not None:
            is_tried = tried.index().covers(clip)
            if clip.video_id:
                is_tried &= any(other.includes(clip) for other in found[clip.offset])
            elif not clip.is_folder:  # a fault without an id: tried with the clips that are now at its offset
                is_tried &= clip.split == split
        if not is_tried:
            yield clip
