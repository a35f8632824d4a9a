"""A small, deterministic sample of a feature folder, and statistics of its frames."""

import hashlib
import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.audioset.example import decode_example
from transforms.audioset.segments import Segment
from transforms.errors import OutputError
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import read_records

# Largest number of shards read per split, and number of records read per record in the sample.
_MAX_SHARDS = 32
_READ_PER_SAMPLED = 4


class SampledClip(NamedTuple):
    """A record: its segment, and its frames, uint8[n, 128] or raw float32[n, 128]."""

    segment: Segment
    frames: NDArray


def sample_clips(shards: Mapping[str, Sequence[str]], num_clips: int) -> list[SampledClip]:
    """Read a sample of clips with about as many clips of each split.

    The choice depends only on hashes of paths and records, so it is the same each time.

    Args:
      shards: split -> paths of its shards.
      num_clips: number of clips in total; the sample is smaller if a split has too few clips.

    Raises:
      OutputError: a shard is damaged or cannot be read.
    """
    clips = []
    for split, paths in sorted(shards.items()):
        chosen = heapq.nsmallest(_MAX_SHARDS, paths, key=lambda path: _hash(path.encode()))
        left = num_clips // len(shards)
        for number, path in enumerate(chosen):
            wanted = -(-left // (len(chosen) - number))
            try:
                with open_file(path) as file:
                    records = itertools.islice(read_records(file), wanted * _READ_PER_SAMPLED)
                    found = heapq.nsmallest(wanted, records, key=_hash)
                clips += [SampledClip(*decode_example(record, split)) for record in found]
            except (ValueError, *FILE_ERRORS) as error:
                message = f"{path}: {error}; delete this shard and run the same command again"
                raise OutputError(message) from error
            left -= len(found)
    return clips


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass(frozen=True)
class FrameStatistics:
    """Statistics of frames.

    Attributes:
      counts: int64[256], number of each byte; for raw frames int64[bins], a histogram of their values.
      edges: float64[bins + 1], edges of the bins.
      at_0, at_255: float64[128], share of frames in which each dimension is 0 or 255; 0 for raw frames.
      is_constant: bool[128], whether a dimension has the same value in all frames.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.floating]
    at_0: NDArray[np.float64]
    at_255: NDArray[np.float64]
    is_constant: NDArray[np.bool_]

    @classmethod
    def of(cls, frames: NDArray) -> "FrameStatistics":
        """Compute the statistics of uint8[n, 128] or float32[n, 128] frames, with n at least 1."""
        is_constant = (frames == frames[0]).all(axis=0)
        if frames.dtype != np.uint8:
            edges = np.linspace(frames.min(), frames.max() + 1e-6, 65, dtype=np.float64)
            counts, _ = np.histogram(frames, edges)
            zeros = np.zeros(frames.shape[1])
            return cls(counts, edges, zeros, zeros, is_constant)
        counts = np.bincount(frames.ravel(), minlength=256)
        at_0, at_255 = ((frames == value).mean(axis=0) for value in (0, 255))
        return cls(counts, np.arange(257) - 0.5, at_0, at_255, is_constant)

    def stuck(self, share: float = 0.5) -> list[tuple[int, int, float]]:
        """Return (dimension, 0 or 255, share of frames) for dimensions at 0 or 255 in at least `share`."""
        return [
            (int(dimension), value, float(at[dimension]))
            for value, at in ((0, self.at_0), (255, self.at_255))
            for dimension in np.flatnonzero(at >= share)
        ]


def project(frames: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project frames [n, d] on their first two principal components.

    Returns:
      float64[n, 2], and the two components' shares of the variance. The largest weight of each component is
      positive, so that the same frames give the same picture.
    """
    centred = frames.astype(np.float64) - frames.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    first = vectors[:, [-1, -2]]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), [0, 1]])
    shares = values[[-1, -2]] / max(values.sum(), np.finfo(float).tiny)
    return centred @ first, shares
