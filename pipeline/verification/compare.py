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
from transforms.printable import counted
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange, dequantize

_WORST = 10
# Maximum number of clips per task, so that all cores are busy even if a folder has only one shard.
_TASK_CLIPS = 2_000


@dataclass(frozen=True, order=True)
class ClipDifference:
    """The difference of two records of a clip, over the frames that both have.

    Attributes:
      cosine, least_cosine: mean and lowest cosine similarity of the frames' embeddings, which are
        dequantized if they are quantized.
      equal: share of equal bytes, or of equal values for raw features.
      largest: largest difference of two bytes, or of two values.
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
      folder: path of the second folder.
      clips, only_here, only_there: number of clips in both folders, only in the first, only in the second.
      other_times, other_labels: number of clips with a different end time, or different labels.
      frames: number of compared frames.
      cosine_sum, least_cosine: sum and minimum of the cosine similarity of all frames.
      values, equal, largest: number of compared bytes (values for raw features), number of equal ones, and
        the largest difference.
      identical: number of clips whose frames are all equal.
      worst: clips that differ, sorted by cosine similarity, lowest first.
    """

    folder: str = ""
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

    def lines(self) -> list[str]:
        lines = [
            f"against {self.folder}",
            f"  clips   {self.clips:,} in both, {self.identical:,} of them identical; "
            f"{self.only_here:,} only here, {self.only_there:,} only there",
        ]
        if self.frames:
            lines += [
                f"  cosine  mean {self.cosine:.6f}, minimum {self.least_cosine:.6f}, "
                f"over {counted(self.frames, 'frame')}",
                f"  values  {self.equal / self.values:.4%} equal, largest difference {self.largest:g}",
            ]
        for number, what in ((self.other_times, "a different end"), (self.other_labels, "different labels")):
            if number:
                lines.append(f"  {counted(number, 'clip has', 'clips have')} {what} there")
        if self.worst:
            lines.append("  clips that differ, largest difference first:")
            lines += [f"    {clip}" for clip in self.worst]
        return lines

    def to_json(self) -> dict[str, Any]:
        values = asdict(self) | {"cosine": self.cosine}
        values["least_cosine"] = self.least_cosine if self.frames else None
        return {name: value for name, value in values.items() if name not in ("cosine_sum", "problems")}


class Pairs(NamedTuple):
    """Locations of some records of a shard, and of the records of the same clips in the other folder.

    Attributes:
      path, offsets: path of the shard, and int64[n] offsets of the records in bytes.
      folders: paths of the two folders, for messages.
      quantizations: for each folder the range of values that the bytes of its frames represent.
      other_paths: for each record the path of the other folder's shard.
      other_offsets: int64[n], offsets in these shards.
    """

    path: str
    offsets: NDArray
    folders: tuple[str, str]
    quantizations: tuple[QuantizationRange, QuantizationRange]
    other_paths: list[str]
    other_offsets: NDArray


def compare_folders(one: RecordIndex, other: RecordIndex, run_all: Mapper = map) -> Comparison:
    """Compares all records of two folders with any sharding; a process holds one record of each at a time.

    A clip that only one folder has, or whose number of frames differs, is a problem; differing bytes are not.
    `run_all` is the map function that runs the tasks, such as `Processes.map`.
    """
    _, here, there = np.intersect1d(
        one.rows["key"], other.rows["key"], assume_unique=True, return_indices=True
    )
    rows, partners = one.rows[here], other.rows[there]
    only_here, only_there = np.delete(one.rows, here), np.delete(other.rows, there)
    comparison = Comparison(
        other.folder,
        only_here=len(only_here),
        only_there=len(only_there),
        other_times=int((rows["end_s"] != partners["end_s"]).sum()),
        other_labels=int((rows["labels"] != partners["labels"]).sum()),
    )
    folders, quantizations = (one.folder, other.folder), (one.quantization, other.quantization)
    pairs = []
    for path, part in _parts(one, rows):
        other_paths = [other.paths[shard] for shard in partners["shard"][part]]
        offsets, other_offsets = rows["offset"][part], partners["offset"][part]
        pairs.append(Pairs(path, offsets, folders, quantizations, other_paths, other_offsets))
    for result in run_all(_compare_records, pairs):
        comparison.add(result)
    for index, rival, rows in ((one, other, only_here), (other, one, only_there)):
        tasks = [(path, rows["offset"][part], rival.folder) for path, part in _parts(index, rows)]
        for problems in run_all(_name_records, tasks):
            comparison.problems += problems
    return comparison


def _parts(index: RecordIndex, rows: NDArray) -> Iterator[tuple[str, NDArray]]:
    """Yields (path of a shard, positions in `rows` of some of its records), in order of offset."""
    order = np.lexsort((rows["offset"], rows["shard"]))
    for of_shard in np.split(order, np.flatnonzero(np.diff(rows["shard"][order])) + 1):
        for start in range(0, len(of_shard), _TASK_CLIPS):
            yield index.paths[rows["shard"][of_shard[0]]], of_shard[start : start + _TASK_CLIPS]


def _compare_records(pairs: Pairs) -> Comparison:
    comparison = Comparison()
    with RecordReader() as records:
        each = zip(pairs.offsets.tolist(), pairs.other_paths, pairs.other_offsets.tolist(), strict=True)
        for offset, other_path, other_offset in each:
            try:
                segment, frames = records.read(pairs.path, offset)
                _, other_frames = records.read(other_path, other_offset)
            except ValueError as error:
                comparison.problems.append(f"{error}; this clip is not compared")
            else:
                comparison.add(_compare_clip(pairs, segment, frames, other_frames))
    return comparison


def _name_records(task: tuple[str, NDArray, str]) -> list[str]:
    path, offsets, other_folder = task
    problems = []
    with RecordReader() as records:
        for offset in offsets.tolist():
            try:
                segment, _ = records.read(path, offset)
                problems.append(f"{path}: {_name(segment)} is not in {other_folder}")
            except ValueError as error:
                problems.append(f"{error}, and its clip is not in {other_folder}")
    return problems


def _compare_clip(pairs: Pairs, segment: Segment, frames: NDArray, other_frames: NDArray) -> Comparison:
    result, name = Comparison(clips=1), f"{pairs.path}: {_name(segment)}"
    if frames.dtype != other_frames.dtype:
        raw, quantized = pairs.folders if other_frames.dtype == np.uint8 else pairs.folders[::-1]
        result.problems.append(f"{name} is raw in {raw} but quantized in {quantized}; not compared")
        return result
    counts = len(frames), len(other_frames)
    if counts[0] != counts[1]:
        result.problems.append(f"frames of {name}: {counts[0]:,}, but {counts[1]:,} in {pairs.folders[1]}")
    result.frames = min(counts)
    frames, other_frames = frames[: result.frames], other_frames[: result.frames]
    if len(frames):
        cosines = cosine_similarity(frames, other_frames, *pairs.quantizations)
        differences = np.abs(frames.astype(np.float64) - other_frames)
        result.cosine_sum, result.least_cosine = float(cosines.sum()), float(cosines.min())
        result.values, result.equal = frames.size, int(np.count_nonzero(differences == 0))
        result.largest = float(differences.max())
    if result.equal < result.values:
        clip = segment.split, segment.video_id, milliseconds(segment.start_s) / 1000
        equal = result.equal / result.values
        result.worst = [
            ClipDifference(float(cosines.mean()), result.least_cosine, equal, result.largest, *clip)
        ]
    result.identical = int(result.equal == result.values and counts[0] == counts[1])
    return result


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
