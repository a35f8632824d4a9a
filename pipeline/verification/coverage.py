"""Checks that a feature folder contains or rejects the clip of every segment."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from transforms.audioset.segments import Segment
from transforms.clips import RejectedClip
from transforms.features.existing_records import hash_values
from transforms.features.record_index import ROW, RecordIndex, hash_clip


@dataclass
class Coverage:
    """Counts of segments with and without a record.

    Attributes:
      segments: number of segments, the sum of the next three.
      there, rejected, missing: segments with a record; without one, but in the list of rejects; with neither.
      unnamed: records without a segment.
      other_ends: records whose end differs from their segment's.
      other_labels: records whose labels differ from their segment's.
      hidden: rejects without the id of a clip.
    """

    segments: int = 0
    there: int = 0
    rejected: int = 0
    missing: int = 0
    unnamed: int = 0
    other_ends: int = 0
    other_labels: int = 0
    hidden: int = 0
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [
            f"segments: {self.segments} = there {self.there} + rejected {self.rejected} "
            f"+ missing {self.missing}"
        ]

    def notes(self) -> list[str]:
        """Returns remarks that are not problems."""
        counts = (
            (self.unnamed, "records without a segment"),
            (self.other_ends, "records whose end differs from their segment's"),
            (self.hidden, "rejects without the id of a clip, which may be a missing clip"),
        )
        return [f"{text}: {n}" for n, text in counts if n]

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "problems"}


def cover_segments(
    index: RecordIndex, segments: Iterable[Segment], rejects: Iterable[RejectedClip]
) -> Coverage:
    """Looks up every segment in the records and the rejects of a folder.

    Times are compared as in records, rounded to float32. Different labels are a problem. A different end is
    not: the release itself has records that end one second before their segment. `segments` is read twice.
    """
    wanted = np.fromiter(map(_row, segments), ROW)
    rows = index.rows
    places = np.minimum(np.searchsorted(rows["key"], wanted["key"]), max(0, len(rows) - 1))
    found = rows[places] if len(rows) else np.zeros(len(wanted), ROW)
    is_there = (found["key"] == wanted["key"]) & (len(rows) > 0)
    coverage = Coverage(segments=len(wanted), there=int(is_there.sum()))
    rejected_keys = []
    for clip in rejects:
        rejected_keys.append(hash_clip(clip))
        coverage.hidden += not clip.video_id
    is_rejected = ~is_there & np.isin(wanted["key"], np.array(rejected_keys, np.uint64))
    has_other_labels = is_there & (found["labels"] != wanted["labels"])
    coverage.rejected = int(is_rejected.sum())
    coverage.missing = coverage.segments - coverage.there - coverage.rejected
    coverage.unnamed = len(rows) - coverage.there
    coverage.other_labels = int(has_other_labels.sum())
    coverage.other_ends = int((is_there & (found["end_s"] != wanted["end_s"])).sum())
    is_missing = ~is_there & ~is_rejected
    for number, segment in enumerate(segments):
        clip_name = f"{segment.video_id!r} at {segment.start_s} s"
        if is_missing[number]:
            coverage.problems.append(
                f"{index.folder}: {clip_name} of {segment.split} has no record and is not in the list of "
                "rejects"
            )
        elif has_other_labels[number]:
            path = index.paths[found["shard"][number]]
            coverage.problems.append(
                f"{path}: {clip_name} has other labels than its segment, {list(segment.labels)}"
            )
    return coverage


def _row(segment: Segment) -> tuple:
    return hash_clip(segment), hash_values(segment.labels), segment.end_s, 0, 0
