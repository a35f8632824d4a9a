"""Where every clip went: the account, and the lists of those that gave no record."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from transforms.audioset.segments import milliseconds
from transforms.clips import ClipChunk, Key, RejectedClip, Unmatched
from transforms.printable import json_text
from transforms.storage.files import write_output

Event = tuple[Key, str]  # clip, and that it is expected or what became of it

# Outcomes; a rejection's is "rejected:REASON", an unmatched file's or segment's its kind.
EXPECTED = "expected"
WRITTEN = "written"
EXISTING = "existing"
REJECTED = "rejected:"
REJECTED_EARLIER = "rejected_earlier"  # by another run, and this one says nothing of the clip
FILE_WITHOUT_SEGMENT = "file_without_segment"
SEGMENT_WITHOUT_FILE = "segment_without_file"

# Of audio that was embedded.
AUDIO_MS = "audio_ms"
FRAMES = "frames"

# Of clips that an account has lost, or has twice: enough to find out why.
MAX_LOST = 1_000
# Lines in a file of a list.
_FILE_LINES = 50_000


@dataclass
class WriteJsonLines(beam.PTransform):
    """Writes values as JSON lines, sorted, into `NAME-00000-of-00001.jsonl` and as many more as it takes.

    Which file a line is in depends on nothing but the lines; there is one, empty, if there are none.

    Attributes:
      path: of the files, up to NAME.
    """

    path: str

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        lines = values | "ToJson" >> beam.Map(lambda value: json_text(value.to_json()))
        count = lines | "Count" >> beam.combiners.Count.Globally() | "NumFiles" >> beam.Map(num_files)
        # int, exactly one
        files = count | "Files" >> beam.FlatMap(lambda n: [(number, None) for number in range(n)])
        numbered = lines | "ToFile" >> beam.Map(_file_of_line, beam.pvalue.AsSingleton(count))
        # (number of the file, line), and (number, None) for each file
        return (
            (numbered, files)
            | "WithEmptyFile" >> beam.Flatten()
            | "GroupByFile" >> beam.GroupByKey()
            | "Write" >> beam.Map(_put_lines, self.path, beam.pvalue.AsSingleton(count))
        )


def num_files(num_lines: int) -> int:
    """Files that a list has."""
    return max(1, math.ceil(num_lines / _FILE_LINES))


def list_path(path: str, number: int, count: int) -> str:
    """Path of one of the files of `WriteJsonLines`."""
    return f"{path}-{number:05d}-of-{count:05d}.jsonl"


def _file_of_line(line: str, count: int) -> tuple[int, str]:
    digest = hashlib.sha256(line.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count, line


def _put_lines(group: tuple[int, Iterable[str | None]], path: str, count: int) -> None:
    number, lines = group
    text = "".join(f"{line}\n" for line in sorted(line for line in lines if line is not None))
    write_output(list_path(path, number, count), text.encode())


def expected(key: Key) -> Event:
    """A clip that an input gave."""
    return key, EXPECTED


def written(key: Key) -> Event:
    """A new record."""
    return key, WRITTEN


def existing(key: Key) -> Event:
    """A clip that had its record before."""
    return key, EXISTING


def rejected(clip: RejectedClip) -> Event:
    """A clip that gives no record."""
    return clip.key, REJECTED + clip.reason.value


def rejected_earlier(clip: RejectedClip) -> Event:
    """A clip that stays in the list of the rejected, and is no part of the sum."""
    return clip.key, REJECTED_EARLIER


def unmatched(value: Unmatched) -> Event:
    """What is no clip, or has no audio: counted, and no part of the sum."""
    return value.segment.key if value.segment else ("", value.file or "", 0), value.kind


@dataclass
class WriteAccount(beam.PTransform):
    """Event -> one JSON file, which the launcher reads: counts by split and outcome, and what was lost.

    The two sides are joined clip by clip, so that one clip too few never hides one too many. They travel as
    data and not as metrics: a runner that repeats a bundle counts metrics twice.

    Attributes:
      path: of the file.
      amounts: ((split, what), n) to stand among the counts.
    """

    path: str
    amounts: beam.pvalue.AsList | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, events: beam.PCollection[Event]) -> beam.PCollection:
        counts = (
            events
            | "BySplitAndOutcome" >> beam.Map(lambda event: ((event[0][0], event[1]), 1))
            | "Count" >> beam.CombinePerKey(sum)
            # ((split, outcome), n)
            | "GatherCounts" >> beam.combiners.ToList()
        )
        lost = (
            events
            | "Balance" >> beam.Map(lambda event: (event[0], _balance(event[1])))
            | "SumByClip" >> beam.CombinePerKey(sum)
            # (Key, inputs without an outcome); less than 0: outcomes without an input
            | "Unequal" >> beam.Filter(lambda clip: clip[1] != 0)
            | "First" >> beam.combiners.Top.Smallest(MAX_LOST)
        )
        # exactly one list each
        return counts | "Write" >> beam.Map(
            _put_account, beam.pvalue.AsSingleton(lost), self.path, self.amounts or ()
        )


@dataclass
class MeasureAudio(beam.PTransform):
    """(ClipChunk, features[n, 128]) -> ((split, AUDIO_MS or FRAMES), n), one of each for each split."""

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, embedded: beam.PCollection[tuple[ClipChunk, np.ndarray]]) -> beam.PCollection:
        return embedded | "Measure" >> beam.FlatMapTuple(_measure) | "SumBySplit" >> beam.CombinePerKey(sum)


def _measure(chunk: ClipChunk, frames: np.ndarray) -> Iterator[tuple[tuple[str, str], int]]:
    yield (chunk.split, FRAMES), len(frames)
    if chunk.segment is not None:
        yield (chunk.split, AUDIO_MS), milliseconds(chunk.segment.end_s - chunk.segment.start_s)


def _balance(outcome: str) -> int:
    if outcome == EXPECTED:
        return 1
    return -1 if outcome in (WRITTEN, EXISTING) or outcome.startswith(REJECTED) else 0


def _put_account(
    counts: list[tuple[tuple[str, str], int]],
    lost: list[tuple[Key, int]],
    path: str,
    amounts: Iterable[tuple[tuple[str, str], int]],
) -> None:
    rows = sorted([split, outcome, n] for (split, outcome), n in [*counts, *amounts])
    missing = [[*key, balance] for key, balance in lost]
    write_output(path, json.dumps({"counts": rows, "lost": missing}).encode())
