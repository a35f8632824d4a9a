"""Where every clip went: lists of those that gave no record, and the counts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam

from transforms.clips import Clip, RejectedClip, Unmatched
from transforms.files import put_file

Count = tuple[tuple[str, str], int]  # (split, outcome), number

# Outcomes; a rejection's is "rejected:REASON", an unmatched file's or segment's its kind.
READ = "read"
WRITTEN = "written"
REJECTED = "rejected:"
FILE_WITHOUT_SEGMENT = "file_without_segment"
SEGMENT_WITHOUT_FILE = "segment_without_file"


@dataclass
class WriteJsonLines(beam.PTransform):
    """Writes values as one file of JSON lines, sorted; an empty file if there are none.

    Attributes:
      path: of the file.
    """

    path: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        return (
            values
            | "ToJson" >> beam.Map(lambda value: json.dumps(value.to_json(), ensure_ascii=False))
            | "Gather" >> beam.combiners.ToList()
            # [str], exactly one list
            | "Write" >> beam.Map(_put_lines, self.path)
        )


def _put_lines(lines: Iterable[str], path: str) -> None:
    put_file(path, "".join(f"{line}\n" for line in sorted(lines)).encode())


@dataclass
class WriteCounts(beam.PTransform):
    """((split, outcome), n) -> one JSON file of [split, outcome, sum], which the launcher reads.

    Counts travel as data, not as metrics: a runner that repeats a bundle counts metrics twice.

    Attributes:
      path: of the file.
    """

    path: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, counts: beam.PCollection[Count]) -> beam.PCollection:
        return (
            counts
            | "Sum" >> beam.CombinePerKey(sum)
            | "Gather" >> beam.combiners.ToList()
            # [Count], exactly one list
            | "Write" >> beam.Map(_put_counts, self.path)
        )


def count_read(clip: Clip | RejectedClip) -> Count:
    return (clip.split, READ), 1


def count_rejected(clip: RejectedClip) -> Count:
    return (clip.split, REJECTED + clip.reason.value), 1


def count_unmatched(unmatched: Unmatched) -> Count:
    return (unmatched.segment.split if unmatched.segment else "", unmatched.kind), 1


def count_written(split: str, num_records: int) -> Count:
    return (split, WRITTEN), num_records


def _put_counts(counts: list[Count], path: str) -> None:
    rows = sorted([split, outcome, n] for (split, outcome), n in counts)
    put_file(path, json.dumps(rows).encode())
