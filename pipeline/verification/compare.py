"""Compares two feature folders clip by clip: clips that only one folder has, and distances of embeddings."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.verification.process_pool import Mapper
from transforms.audioset.segments import Segment, milliseconds
from transforms.features.record_index import RecordIndex, RecordReader
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange, dequantize

_WORST = 10
# Maximum number of clips per task, so that all cores are busy even if a folder has only one shard.
_TASK_CLIPS = 2_000


@dataclass(frozen=True, order=True)
class ClipDifference:
    """The difference of two records of a clip, over the frames that both have.

    Attributes:
      cosine: mean cosine similarity of the frames' embeddings, dequantized if they are quantized.
      least_cosine: lowest cosine similarity of a frame.
      equal: share of equal bytes, or of equal values for raw features.
      largest: largest difference of two bytes, or of two values.
      split, video_id, start_s: split, id and start of the clip.
    """

    cosine: float
    least_cosine: float
    equal: float
    largest: float
    split: str
    video_id: str
    start_s: float

    def __str__(self) -> str:
        return (
            f"{self.split} {self.video_id!r} at {self.start_s} s: cosine {self.cosine:.6f} "
            f"(minimum {self.least_cosine:.6f}), {self.equal:.2%} equal, largest difference {self.largest:g}"
        )


@dataclass
class Comparison:
    """The result of comparing two folders.

    Attributes:
      clips, only_here, only_there: number of clips in both folders, only in the first, only in the second.
      other_times, other_labels: number of clips with a different end time, or different labels.
      frames: number of compared frames.
      cosine_sum, least_cosine: sum and minimum of the cosine similarity of all frames.
      values, equal, largest: number of compared bytes (values for raw features), number of equal ones, and
        the largest difference.
      identical: number of clips whose frames are all equal.
      worst: clips that differ, sorted by cosine similarity, lowest first.
      problems: one line each.
    """

    clips: int = 0
    only_here: int = 0
    only_there: int = 0
    other_times: int = 0
    other_labels: int = 0
    frames: int = 0
    cosine_sum: float = 0.0
    least_cosine: float = math.inf
    values: int = 0
    equal: int = 0
    largest: float = 0.0
    identical: int = 0
    worst: list[ClipDifference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Comparison") -> None:
        for name in ("clips", "frames", "cosine_sum", "values", "equal", "identical", "problems"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.least_cosine = min(self.least_cosine, other.least_cosine)
        self.largest = max(self.largest, other.largest)
        self.worst = heapq.nsmallest(_WORST, [*self.worst, *other.worst])

    @property
    def cosine(self) -> float | None:
        """Mean cosine similarity of all frames; None if there are none."""
        return self.cosine_sum / self.frames if self.frames else None

    def lines(self, folder: str) -> list[str]:
        """Returns the comparison as text; `folder` is the path of the second folder."""
        lines = [
            f"against {folder}",
            f"  clips   {self.clips:,} in both, {self.identical:,} of them identical; "
            f"{self.only_here:,} only here, {self.only_there:,} only there",
        ]
        if self.frames:
            lines += [
                f"  cosine  mean {self.cosine:.6f}, minimum {self.least_cosine:.6f}, "
                f"over {self.frames:,} frames",
                f"  values  {self.equal / self.values:.4%} equal, largest difference {self.largest:g}",
            ]
        for number, what in ((self.other_times, "a different end"), (self.other_labels, "different labels")):
            if number:
                lines.append(f"  {number:,} clips have {what} there")
        if self.worst:
            lines += [
                "  clips that differ, largest difference first:",
                *(f"    {clip}" for clip in self.worst),
            ]
        return lines

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        for name in ("cosine_sum", "problems"):
            del values[name]
        values |= {"cosine": self.cosine, "least_cosine": self.least_cosine if self.frames else None}
        return values


class Places(NamedTuple):
    """Locations of a shard's records, and of the records of the same clips in the other folder, if any.

    Attributes:
      path, offsets: path of the shard, and int64[n] offsets of the records in bytes.
      folder, other_folder: paths of the folders, for messages.
      quantization, other_quantization: ranges of values that the bytes of the frames represent.
      other_paths: paths of the other folder's shards.
      other_numbers, other_offsets: int64[n], for each record the index in `other_paths`, and the offset
        there.
    """

    path: str
    offsets: NDArray
    folder: str
    other_folder: str
    quantization: QuantizationRange = RELEASED_RANGE
    other_quantization: QuantizationRange = RELEASED_RANGE
    other_paths: tuple[str, ...] = ()
    other_numbers: NDArray = np.empty(0, np.int64)
    other_offsets: NDArray = np.empty(0, np.int64)


def compare_folders(one: RecordIndex, other: RecordIndex, run_all: Mapper = map) -> Comparison:
    """Compares all records of two folders with any sharding; a process holds one record of each at a time.

    A clip that only one folder has, or whose number of frames differs, is a problem; differing bytes are not.

    Args:
      one, other: the indices of the folders.
      run_all: the map function that runs the tasks, such as `Processes.map`.
    """
    _, here, there = np.intersect1d(
        one.rows["key"], other.rows["key"], assume_unique=True, return_indices=True
    )
    pairs, partners = one.rows[here], other.rows[there]
    only_here, only_there = np.delete(one.rows, here), np.delete(other.rows, there)
    comparison = Comparison(
        only_here=len(only_here),
        only_there=len(only_there),
        other_times=int((pairs["end_s"] != partners["end_s"]).sum()),
        other_labels=int((pairs["labels"] != partners["labels"]).sum()),
    )
    for part in run_all(_compare_places, list(_tasks(one, other, pairs, partners))):
        comparison.add(part)
    for index, rival, rows in ((one, other, only_here), (other, one, only_there)):
        for problems in run_all(_name_places, list(_tasks(index, rival, rows))):
            comparison.problems += problems
    return comparison


def _tasks(
    index: RecordIndex, other: RecordIndex, rows: NDArray, partners: NDArray | None = None
) -> Iterator[Places]:
    """Yields tasks of rows and their partners in the other folder, by shard, in order of offset."""
    order = np.lexsort((rows["offset"], rows["shard"]))
    rows = rows[order]
    _, starts, counts = np.unique(rows["shard"], return_index=True, return_counts=True)
    for first, last in zip(starts, starts + counts, strict=True):
        for start in range(first, last, _TASK_CLIPS):
            part = slice(start, min(last, start + _TASK_CLIPS))
            path = index.paths[rows["shard"][first]]
            places = Places(
                path,
                rows["offset"][part].astype(np.int64),
                index.folder,
                other.folder,
                index.quantization,
                other.quantization,
            )
            if partners is None:
                yield places
                continue
            others = partners[order[part]]
            shards, numbers = np.unique(others["shard"], return_inverse=True)
            yield places._replace(
                other_paths=tuple(other.paths[shard] for shard in shards),
                other_numbers=numbers,
                other_offsets=others["offset"].astype(np.int64),
            )


def _compare_places(places: Places) -> Comparison:
    comparison = Comparison()
    with RecordReader() as records:
        each = (places.offsets.tolist(), places.other_numbers.tolist(), places.other_offsets.tolist())
        for offset, number, other_offset in zip(*each, strict=True):
            try:
                segment, frames = records.read(places.path, offset)
                _, other_frames = records.read(places.other_paths[number], other_offset)
            except ValueError as error:
                comparison.problems.append(f"{error}; this clip is not compared")
                continue
            comparison.clips += 1
            _add_clip(comparison, places, segment, frames, other_frames)
    return comparison


def _name_places(places: Places) -> list[str]:
    problems = []
    with RecordReader() as records:
        for offset in places.offsets.tolist():
            try:
                segment, _ = records.read(places.path, offset)
                problems.append(f"{places.path}: {_name(segment)} is not in {places.other_folder}")
            except ValueError as error:
                problems.append(f"{error}, and its clip is not in {places.other_folder}")
    return problems


def _add_clip(
    comparison: Comparison, places: Places, segment: Segment, frames: NDArray, other_frames: NDArray
) -> None:
    if frames.dtype != other_frames.dtype:
        raw, quantized = places.folder, places.other_folder
        if frames.dtype == np.uint8:
            raw, quantized = quantized, raw
        comparison.problems.append(
            f"{places.path}: {_name(segment)} is raw in {raw} but quantized in {quantized}; not compared"
        )
        return
    if len(frames) != len(other_frames):
        comparison.problems.append(
            f"{places.path}: {_name(segment)} has {len(frames)} frames, but {len(other_frames)} in "
            f"{places.other_folder}"
        )
    common = min(len(frames), len(other_frames))
    is_identical = len(frames) == len(other_frames)
    if common:
        frames, other_frames = frames[:common], other_frames[:common]
        cosines = cosine_similarity(frames, other_frames, places.quantization, places.other_quantization)
        differences = np.abs(frames.astype(np.float64) - other_frames)
        equal = int(np.count_nonzero(differences == 0))
        largest = float(differences.max())
        comparison.frames += common
        comparison.cosine_sum += float(cosines.sum())
        comparison.least_cosine = min(comparison.least_cosine, float(cosines.min()))
        comparison.values += frames.size
        comparison.equal += equal
        comparison.largest = max(comparison.largest, largest)
        if equal < frames.size:
            is_identical = False
            clip = segment.split, segment.video_id, milliseconds(segment.start_s) / 1000
            difference = ClipDifference(
                float(cosines.mean()), float(cosines.min()), equal / frames.size, largest, *clip
            )
            comparison.worst = heapq.nsmallest(_WORST, [*comparison.worst, difference])
    comparison.identical += is_identical


def cosine_similarity(
    one: NDArray,
    other: NDArray,
    quantization: QuantizationRange = RELEASED_RANGE,
    other_quantization: QuantizationRange = RELEASED_RANGE,
) -> NDArray[np.float64]:
    """Returns the cosine similarity of each pair of embeddings, float64[n]; exactly 1 for equal embeddings.

    Args:
      one, other: embeddings [n, 128], float32, or uint8, which are dequantized.
      quantization, other_quantization: ranges of values that the bytes represent.
    """
    a, b = (
        dequantize(frames, of) if frames.dtype == np.uint8 else frames
        for frames, of in ((one, quantization), (other, other_quantization))
    )
    is_equal = (a == b).all(axis=1)
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    cosines = (a * b).sum(axis=1) / np.where(norms == 0, 1, norms)
    return np.where(is_equal, 1.0, np.clip(cosines, -1, 1))


def _name(segment: Segment) -> str:
    return f"{segment.video_id!r} at {milliseconds(segment.start_s) / 1000} s"
