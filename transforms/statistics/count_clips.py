"""How many clips, frames and hours there are, by split and label."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam

from transforms.audioset.segments import Segment, milliseconds
from transforms.clips import ClipChunk, Key

# What is shuffled of a chunk: file, offset, index, frames, and of the last chunk the clip's end and labels.
PieceSize = tuple[str, int, int, int, tuple[float, tuple[int, ...]] | None]


class ClipSize(NamedTuple):
    """A clip as it is counted."""

    split: str
    labels: tuple[int, ...]
    frames: int
    duration_ms: int


class Count(NamedTuple):
    """Clips of a split: those with a label, or, where the label is None, all of them."""

    split: str
    label: int | None
    clips: int
    frames: int
    duration_ms: int


def clip_size(segment: Segment, frames: int) -> ClipSize:
    """A clip with so many frames."""
    return ClipSize(segment.split, segment.labels, frames, milliseconds(segment.duration_s))


def keyed_chunk(chunk: ClipChunk, frames: int) -> tuple[Key, PieceSize]:
    """A chunk with so many frames, as `whole_clips` puts it together."""
    ending = None if chunk.segment is None else (chunk.segment.end_s, chunk.segment.labels)
    offset = -1 if chunk.offset is None else chunk.offset
    return chunk.key, (chunk.file, offset, chunk.index, frames, ending)


def whole_clips(key: Key, chunks: Iterable[PieceSize]) -> list[ClipSize]:
    """The clips that the chunks of one key are of, by file and place in it; the first one counts.

    Those after it are duplicates. A clip that was rejected on the way lacks a chunk, and is left out.
    """
    split, _, start_ms = key
    by_source: dict[tuple[str, int], list[PieceSize]] = {}
    for chunk in sorted(chunks, key=lambda chunk: chunk[:3]):
        by_source.setdefault(chunk[:2], []).append(chunk)
    clips = []
    for parts in by_source.values():
        _, _, index, _, ending = parts[-1]
        if ending is not None and len(parts) == index + 1:
            end_s, labels = ending
            frames = sum(part[3] for part in parts)
            clips.append(ClipSize(split, labels, frames, milliseconds(end_s) - start_ms))
    return clips


@dataclass
class CountClips(beam.PTransform):
    """ClipSize -> list of Count, sorted, one element; empty of no clips."""

    def __post_init__(self) -> None:
        super().__init__()

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
