"""Sums the frames of a corpus in random groups of clips, which make samples of many sizes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from transforms.audioset.segments import Segment
from transforms.features.existing_records import record_key
from transforms.read_features import Features
from transforms.stage import Stage
from transforms.statistics.frechet import Sums

# Sizes of samples: as many as the default of fadtk.
NUM_GROUPS = 25
# Frames per batch: so many that the products of a batch cost more than its handling.
_BATCH_FRAMES = 4096


@dataclass
class SumGroups(Stage):
    """(Segment, frames [n, size]) with any n -> list[Sums], one element of `NUM_GROUPS`.

    A clip's group is a hash of its key, so it is the same on every runner. Frames of a clip stay together,
    since they resemble each other: samples of single frames would seem to be larger than they are.

    Attributes:
      size: number of values per frame.
    """

    size: int

    def expand(self, clips: beam.PCollection[Features]) -> beam.PCollection[list[Sums]]:
        return (
            clips
            | "Batch"
            >> beam.BatchElements(
                min_batch_size=_BATCH_FRAMES, max_batch_size=_BATCH_FRAMES, element_size_fn=_num_frames
            )
            # list of (Segment, [n, size]) with about 4,096 frames in total
            | "Sum" >> beam.CombineGlobally(_SumFn(self.size))
        )


def _num_frames(clip: Features) -> int:
    return max(1, len(clip[1]))


class _SumFn(beam.CombineFn):
    """Batches of clips -> list[Sums]."""

    def __init__(self, size: int):
        self._size = size

    def create_accumulator(self) -> list[Sums]:
        size = self._size
        return [Sums(0, np.zeros(size), np.zeros((size, size))) for _ in range(NUM_GROUPS)]

    def add_input(self, sums: list[Sums], batch: Sequence[Features]) -> list[Sums]:
        frames = np.concatenate([frames for _, frames in batch]).astype(np.float64)
        groups = np.repeat([group_of(segment) for segment, _ in batch], [len(frames) for _, frames in batch])
        parts = [frames[groups == number] for number in range(NUM_GROUPS)]
        own = [Sums(len(part), part.sum(axis=0), part.T @ part) for part in parts]
        return [one + other for one, other in zip(sums, own, strict=True)]

    def merge_accumulators(self, accumulators: Iterable[list[Sums]]) -> list[Sums]:
        merged = self.create_accumulator()
        for sums in accumulators:
            merged = [one + other for one, other in zip(merged, sums, strict=True)]
        return merged

    def extract_output(self, sums: list[Sums]) -> list[Sums]:
        return sums


def group_of(segment: Segment) -> int:
    """Return the group of a clip, from 0 to NUM_GROUPS - 1."""
    digest = hashlib.sha256(repr((segment.split, *record_key(segment))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % NUM_GROUPS
