"""Counts clips, frames and hours by split and label."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam

from transforms.audioset.segments import Segment, milliseconds
from transforms.clips import ClipChunk, Key
from transforms.stage import Stage

# A chunk as it is shuffled: file, offset, index, frames, and for the last chunk the clip's end and labels.
ChunkSize = tuple[str, int, int, int, tuple[float, tuple[int, ...]] | None]


class ClipSize(NamedTuple):
    """The values of a clip that are counted."""

    split: str
    labels: tuple[int, ...]
    frames: int
    duration_ms: int


class Count(NamedTuple):
    """Counts of a split's clips with a label; if the label is None, of all its clips."""

    split: str
    label: int | None
    clips: int
    frames: int
    duration_ms: int


def clip_size(segment: Segment, frames: int) -> ClipSize:
    """Return the size of a clip with this number of frames."""
    return ClipSize(segment.split, segment.labels, frames, milliseconds(segment.duration_s))


def chunk_size(chunk: ClipChunk, frames: int) -> tuple[Key, ChunkSize]:
    """Return (key, size) of a chunk with this number of frames, for `assemble_sizes`."""
    ending = None if chunk.segment is None else (chunk.segment.end_s, chunk.segment.labels)
    offset = -1 if chunk.offset is None else chunk.offset
    return chunk.key, (chunk.file, offset, chunk.index, frames, ending)


def assemble_sizes(key: Key, chunks: Iterable[ChunkSize]) -> list[ClipSize]:
    """Assemble the chunks of one key into clips, one per input, sorted by file and offset.

    Clips after the first are duplicates. A clip without all its chunks was rejected, and is left out.
    """
    split, _, start_ms = key
    by_source: dict[tuple[str, int], list[ChunkSize]] = {}
    for chunk in sorted(chunks, key=lambda chunk: chunk[:3]):
        by_source.setdefault(chunk[:2], []).append(chunk)
    clips = []
    for clip in by_source.values():
        _, _, index, _, ending = clip[-1]
        if ending is not None and len(clip) == index + 1:
            end_s, labels = ending
            frames = sum(chunk[3] for chunk in clip)
            clips.append(ClipSize(split, labels, frames, milliseconds(end_s) - start_ms))
    return clips


@dataclass
class CountClips(Stage):
    """ClipSize -> one sorted list of Count; the list is empty without clips."""

    def expand(self, clips: beam.PCollection[ClipSize]) -> beam.PCollection[list[Count]]:
        return (
            clips
            | "BySplitAndLabel" >> beam.FlatMap(_sizes)
            # ((split, label or -1), (clips, frames, milliseconds))
            | "Add" >> beam.CombinePerKey(beam.combiners.TupleCombineFn(sum, sum, sum))
            | "Gather" >> beam.combiners.ToList()
            | "ToCounts" >> beam.Map(_to_counts)
        )


def _sizes(clip: ClipSize) -> Iterator[tuple[tuple[str, int], tuple[int, int, int]]]:
    for label in (-1, *clip.labels):
        yield (clip.split, label), (1, clip.frames, clip.duration_ms)


def _to_counts(sizes: Iterable[tuple[tuple[str, int], tuple[int, int, int]]]) -> list[Count]:
    return [
        Count(split, None if label == -1 else label, *numbers) for (split, label), numbers in sorted(sizes)
    ]
