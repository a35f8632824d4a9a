"""Segments: the recording, time range and labels of a clip."""

import bisect
import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from transforms.audioset.layout import check_split
from transforms.errors import SettingError

# Released CSV -> the folder of its features.
RELEASED_SPLITS = {
    "balanced_train_segments.csv": "bal_train",
    "unbalanced_train_segments.csv": "unbal_train",
    "eval_segments.csv": "eval",
}
# 30,000 years: longer than any recording. In milliseconds it is exact and fits in 64 bits.
MAX_TIME_S = 1e12
# At the ends of an id these are a mistake in the CSV; no file or clip would match such an id.
_BLANKS = " \t\u00a0"


@dataclass(frozen=True, slots=True)
class Segment:
    """A time range of one recording. Split, id and start identify a record.

    Attributes:
      split: folder of its features, such as `bal_train`.
      video_id: the recording's id.
      start_s, end_s: times in the recording, in seconds.
      labels: class indices, sorted; empty if it is not labeled.
    """

    split: str
    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """(split, video id, start in milliseconds), unique per record."""
        return (self.split, self.video_id, milliseconds(self.start_s))

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def split_of(csv_name: str) -> str:
    """Return the split of a released segments CSV by its file name.

    Raises:
      SettingError: the name is not a released one.
    """
    try:
        return RELEASED_SPLITS[csv_name.rsplit("/", 1)[-1]]
    except KeyError:
        raise SettingError(
            f"segments {csv_name}: the split is known only for {', '.join(RELEASED_SPLITS)}; "
            f"give --segments=SPLIT={csv_name}"
        ) from None


def parse_segments(
    lines: Iterable[str], split: str, class_indices: Mapping[str, int], name: str
) -> Iterator[Segment]:
    """Parse a segments CSV: `YTID, start_seconds, end_seconds, "mid,mid,..."`; lines with `#` are comments.

    Args:
      lines, name: the file's text, and its name for error messages.
      split: the split of its segments.
      class_indices: as `labels.read_class_labels` returns.

    Raises:
      SettingError: a row does not have this form, or has a mid that is not a class.
    """
    check_split(split)
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"segments {name}, line {number}"
        try:
            # Parse each line on its own: an unclosed quote must not include the next rows.
            ((video_id, start, end, mids),) = csv.reader([line], skipinitialspace=True, strict=True)
            start_s, end_s = float(start), float(end)
        except (ValueError, csv.Error):
            raise SettingError(
                f"{where}: {line.strip()[:80]!r} is not YTID, start_seconds, end_seconds, labels; "
                "fix the line"
            ) from None
        if not video_id or not (0 <= start_s < end_s <= MAX_TIME_S):
            raise SettingError(
                f"{where}: {video_id!r} from {start_s} to {end_s} s is not a segment; "
                f"give an id and 0 <= start < end <= {MAX_TIME_S:.0e}"
            )
        if video_id != video_id.strip(_BLANKS):
            raise SettingError(
                f"{where}: the id {video_id[:80]!r} begins or ends with a space, so no file matches it; "
                "remove the space"
            )
        try:
            labels = tuple(sorted({class_indices[mid] for mid in mids.split(",") if mid}))
        except KeyError as error:
            raise SettingError(
                f"{where}: label {error} is not among the {len(class_indices)} classes; "
                "give the --class_labels that these segments use"
            ) from None
        yield Segment(split, video_id, start_s, end_s, labels)


class SegmentTable:
    """A compact table of segments, searchable by id. AudioSet's two million segments take about 250 MB.

    Args:
      segments: in any order.

    Raises:
      SettingError: two segments have the same split, id and start.
    """

    def __init__(self, segments: Iterable[Segment]):
        ordered = sorted(segments, key=lambda s: (s.video_id, milliseconds(s.start_s), s.split))
        for one, other in itertools.pairwise(ordered):
            if one.key == other.key:
                raise SettingError(
                    f"segments: {one.video_id!r} at {one.start_s} s is repeated in {one.split}; keep one row"
                )
        self._splits = sorted({s.split for s in ordered})
        numbers = {split: number for number, split in enumerate(self._splits)}
        self._ids = [s.video_id for s in ordered]
        self._split_numbers = np.array([numbers[s.split] for s in ordered], np.int16)
        self._times_s = np.array([(s.start_s, s.end_s) for s in ordered], np.float64).reshape(-1, 2)
        self._label_ends = np.cumsum([len(s.labels) for s in ordered], dtype=np.int64)
        self._labels = np.array([label for s in ordered for label in s.labels], np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Segment]:
        return map(self._segment, range(len(self)))

    def find(self, video_id: str) -> list[Segment]:
        """Return all segments of a recording, sorted by start time; empty if there are none."""
        first = bisect.bisect_left(self._ids, video_id)
        last = bisect.bisect_right(self._ids, video_id, lo=first)
        return [self._segment(row) for row in range(first, last)]

    def _segment(self, row: int) -> Segment:
        start_s, end_s = self._times_s[row].tolist()
        labels = self._labels[self._label_ends[row - 1] if row else 0 : self._label_ends[row]]
        split = self._splits[self._split_numbers[row]]
        return Segment(split, self._ids[row], start_s, end_s, tuple(labels.tolist()))
