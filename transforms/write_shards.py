"""Packs audio files into shards: each file is read once, and its bytes are copied unchanged."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Literal, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audio_shards.formats import AUDIO
from transforms.audio_shards.items import ShardClip
from transforms.audio_shards.read import REMEDIES
from transforms.audio_shards.sniff import shard_format
from transforms.audio_shards.write import (
    MAX_FILE_BYTES,
    WRITERS,
    PackedClip,
    ShardPlan,
    check_clip,
    plan_shards,
)
from transforms.clips import Clip, RejectedClip, Unmatched, reject
from transforms.errors import ClipError, Reason
from transforms.inputs.input_clips import file_clips
from transforms.inputs.input_list import InputSource, ListInputs, RejectFolders
from transforms.inputs.read_segments import SegmentFiles
from transforms.stage import Stage
from transforms.storage.files import new_file, open_file
from transforms.storage.filesystems import FILE_ERRORS

STAGE = "write_shards"

_HEAD_BYTES = 4096
_UNMATCHED = "unmatched"
_REJECTED = "rejected"


@dataclass(frozen=True)
class Packed:
    """Numbers of clips in a shard."""

    clips: int
    joined_again: int  # without their segments, so that a reader must join them again; see `pack_clip`


class WrittenShards(NamedTuple):
    """What `WriteShards` returns: PCollections of (path, size), one per file to pack; of Packed, one per
    shard; of RejectedClip for files; of RejectedClip for folders that cannot be listed; and of Unmatched."""

    files: beam.PCollection[tuple[str, int]]
    packed: beam.PCollection[Packed]
    rejected: beam.PCollection[RejectedClip]
    unlisted: beam.PCollection[RejectedClip]
    unmatched: beam.PCollection[Unmatched]


@dataclass(frozen=True)
class PackSettings:
    """How files become clips of shards.

    Attributes:
      split: of clips without a segment; None: the reader of the shards chooses it.
      segments: segments CSVs; None if every file is one clip.
      id_pattern: from `names.compile_id_pattern`.
    """

    split: str | None = None
    segments: SegmentFiles | None = None
    id_pattern: Pattern[str] | None = None

    def clips(self, path: str) -> list[Clip]:
        """Return the clips of a file; a process reads the segments once."""
        table = self.segments.table() if self.segments else None
        return file_clips(path, self.split or "", table, self.id_pattern)


def pack_clip(clips: Sequence[Clip], split: str | None, has_table: bool, audio: bytes) -> ShardClip:
    """Return the clip of a shard for a file: always one clip, whatever the number of its segments.

    A reader treats a clip with a start time as already cut, and one without as a recording from which
    segments must be cut. If the clip does not have all fields of one segment, a reader takes the rest from
    the same segments CSVs, as it does for a file. So with the same segments, a shard and the files give the
    same clips.

    Args:
      clips: the file's clips from `input_clips.file_clips`; not empty.
      split: see `PackSettings`.
      has_table: whether there are segments CSVs.
      audio: the file's bytes.
    """
    first = clips[0]
    if not has_table:
        return ShardClip(0, first.video_id, audio, split=split)
    if not first.is_cut:  # a soundtrack
        return ShardClip(0, first.video_id, audio)
    if len(clips) > 1:  # segments of several splits share the time
        return ShardClip(0, first.video_id, audio, first.start_s)
    return ShardClip(0, first.video_id, audio, first.start_s, first.end_s, first.labels, first.split)


@dataclass
class WriteShards(Stage):
    """Finds audio files and packs them into shards, in the order of their paths.

    Only paths and sizes are shuffled. One worker writes a shard, with one file (for Parquet, one row group)
    in memory. The bytes of a shard depend only on the files.

    Attributes:
      inputs: globs on any filesystem that Beam supports, or the list of files that the launcher found.
      output: the shards' folder.
      kind: "tfrecord", "tar" or "parquet".
      shard_bytes: see `audio_shards.write.plan_shards`.
      settings: how files become clips.
    """

    inputs: InputSource
    output: str
    kind: str
    shard_bytes: int
    settings: PackSettings = PackSettings()

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, pbegin: beam.pvalue.PBegin) -> WrittenShards:
        inputs = pbegin.pipeline | "ListInputs" >> ListInputs(self.inputs)
        # Input
        unlisted = inputs | "Unlisted" >> RejectFolders(self.settings.split or "", STAGE)
        found = (
            inputs
            | "Sizes" >> beam.FlatMap(lambda found: [found[:2]] if found.is_file else [])
            # (path, size in bytes), twice if two globs match it
            | "Distinct" >> beam.CombinePerKey(max)
            | "FindClips" >> beam.ParDo(_FindClips(), self.settings).with_outputs(_UNMATCHED, main="files")
        )
        written = (
            found.files
            # One worker sorts all paths: about 200 bytes per path, or 2 GB for ten million.
            | "Gather" >> beam.combiners.ToList()
            | "PlanShards" >> beam.FlatMap(plan_shards, self.shard_bytes)
            # ShardPlan
            | "Spread" >> beam.Reshuffle()
            | "WriteShards"
            >> beam.ParDo(_WriteShard(self.output, self.kind, self.settings)).with_outputs(
                _REJECTED, main="packed"
            )
        )
        return WrittenShards(found.files, written.packed, written[_REJECTED], unlisted, found[_UNMATCHED])


class _FindClips(beam.DoFn):
    """(path, size) -> the same for files with clips; the other output is Unmatched."""

    def process(
        self, file: tuple[str, int], settings: PackSettings
    ) -> Iterator[tuple[str, int] | TaggedOutput[Literal["unmatched"], Unmatched]]:
        path, _ = file
        yield file if settings.clips(path) else TaggedOutput(_UNMATCHED, Unmatched(file=path))


class _WriteShard(beam.DoFn):
    """ShardPlan -> Packed; the other output is RejectedClip, for files that could not be packed."""

    def __init__(self, output: str, kind: str, settings: PackSettings):
        self._output, self._kind, self._settings = output, kind, settings

    def process(self, plan: ShardPlan) -> Iterator[Packed | TaggedOutput[Literal["rejected"], RejectedClip]]:
        rejected: list[RejectedClip] = []
        num_clips, joined_again = 0, 0

        def clips() -> Iterator[PackedClip]:
            nonlocal num_clips, joined_again
            for path in plan.paths:
                named = self._settings.clips(path)
                try:
                    packed = self._pack(path, named)
                except ClipError as error:
                    rejected.append(reject(named[0], STAGE, error))
                    continue
                num_clips += 1
                joined_again += self._settings.segments is not None and packed.clip.end_s is None
                yield packed

        # A shard is written even if all its files were rejected, so that the numbered names have no gap.
        with new_file(FileSystems.join(self._output, plan.file_name(self._kind))) as file:
            for data in WRITERS[self._kind](clips()):
                file.write(data)
        yield Packed(num_clips, joined_again)
        for clip in rejected:
            yield TaggedOutput(_REJECTED, clip)

    def _pack(self, path: str, named: Sequence[Clip]) -> PackedClip:
        audio = _read(path)
        kind = shard_format(path, audio[:_HEAD_BYTES])
        if kind != AUDIO:
            message = f"a {kind} shard already, by its name or content; pipeline.run reads it"
            raise ClipError(Reason.NOT_AUDIO, REMEDIES.get(kind, message))
        clip = pack_clip(named, self._settings.split, self._settings.segments is not None, audio)
        check_clip(self._kind, clip)
        return PackedClip(clip, os.path.splitext(path)[1].removeprefix("."))


def _read(path: str) -> bytes:
    """Return a file's bytes, but no more than MAX_FILE_BYTES + 1."""
    try:
        with open_file(path) as file:
            parts, left = [], MAX_FILE_BYTES + 1
            while left and (data := file.read(left)):  # some files return less than requested
                parts.append(data)
                left -= len(data)
            return b"".join(parts)
    except FILE_ERRORS as error:
        raise ClipError(Reason.UNREADABLE, str(error)) from error
