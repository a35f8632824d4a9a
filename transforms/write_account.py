"""The account of a run, which counts its clips by outcome, and its lists of rejects and unmatched files."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from transforms.audioset.segments import milliseconds
from transforms.clips import Clip, ClipChunk, Key, RejectedClip, Unmatched
from transforms.printable import json_text
from transforms.stage import Stage
from transforms.storage.files import write_output

Event = tuple[Key, str]  # clip, EXPECTED or an outcome

# Clips in the inputs, and their outcomes. A rejected clip has "rejected:REASON"; an unmatched file or segment
# has its `Unmatched.kind`.
EXPECTED = "expected"
WRITTEN = "written"
EXISTING = "existing"  # the record existed before the run
REJECTED = "rejected:"
REJECTED_EARLIER = "rejected_earlier"  # by an earlier run and not revisited; not part of the balance
FILE_WITHOUT_SEGMENT = "file_without_segment"
SEGMENT_WITHOUT_FILE = "segment_without_file"

# Amounts of embedded audio.
AUDIO_MS = "audio_ms"
FRAMES = "frames"

# Largest number of clips listed whose counts do not add up: enough to find the cause.
MAX_LOST = 1_000
# Average number of lines per file of a list.
_FILE_LINES = 50_000


@dataclass
class WriteJsonLines(Stage):
    """Writes values as sorted JSON lines to `PATH-00000-of-00001.jsonl`, or to several such files.

    The file of a line depends only on the lines. Without lines, one empty file is written.
    """

    path: str

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
            | "Write" >> beam.Map(_write_lines, self.path, beam.pvalue.AsSingleton(count))
        )


def num_files(num_lines: int) -> int:
    """Return the number of files of a list."""
    return max(1, math.ceil(num_lines / _FILE_LINES))


def list_path(path: str, number: int, count: int) -> str:
    """Return the path of one of the files that `WriteJsonLines` writes."""
    return f"{path}-{number:05d}-of-{count:05d}.jsonl"


def _file_of_line(line: str, count: int) -> tuple[int, str]:
    digest = hashlib.sha256(line.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count, line


def _write_lines(group: tuple[int, Iterable[str | None]], path: str, count: int) -> None:
    number, lines = group
    text = "".join(f"{line}\n" for line in sorted(line for line in lines if line is not None))
    write_output(list_path(path, number, count), text.encode())


def event(clip: Clip | RejectedClip | Key, outcome: str) -> Event:
    """Return the event of a clip, or of the clip with a key."""
    return (clip if isinstance(clip, tuple) else clip.key), outcome


def rejected(clip: RejectedClip) -> Event:
    """Return the event of a clip that this run rejected."""
    return clip.key, REJECTED + clip.reason.value


def unmatched(value: Unmatched) -> Event:
    """Return the event of an unmatched file or segment: it is counted, but not part of the balance."""
    return value.segment.key if value.segment else ("", value.file or "", 0), value.kind


@dataclass
class WriteAccount(Stage):
    """Event -> one JSON file for the launcher: counts by split and outcome, and clips that are not balanced.

    Inputs and outcomes are joined per clip, so that a missing clip and a surplus one do not cancel out. The
    counts are elements and not Beam metrics, since a runner that repeats a bundle counts metrics twice.

    Attributes:
      amounts: ((split, name), n) to add to the counts.
    """

    path: str
    amounts: beam.pvalue.AsList | None = None

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
            # (Key, inputs minus outcomes)
            | "Unequal" >> beam.Filter(lambda clip: clip[1] != 0)
            | "First" >> beam.combiners.Top.Smallest(MAX_LOST)
        )
        # exactly one list each
        return counts | "Write" >> beam.Map(
            _write_account, beam.pvalue.AsSingleton(lost), self.path, self.amounts or ()
        )


@dataclass
class MeasureAudio(Stage):
    """(ClipChunk, features[n, 128]) -> ((split, AUDIO_MS or FRAMES), n), one of each per split."""

    def expand(self, embedded: beam.PCollection[tuple[ClipChunk, np.ndarray]]) -> beam.PCollection:
        return embedded | "Measure" >> beam.FlatMapTuple(_measure) | "SumBySplit" >> beam.CombinePerKey(sum)


def _measure(chunk: ClipChunk, frames: np.ndarray) -> Iterator[tuple[tuple[str, str], int]]:
    yield (chunk.split, FRAMES), len(frames)
    if chunk.segment is not None:
        yield (chunk.split, AUDIO_MS), milliseconds(chunk.segment.end_s - chunk.segment.start_s)


def _balance(outcome: str) -> int:
    """Return 1 for an input, -1 for an outcome that must belong to an input, and 0 for all others."""
    if outcome == EXPECTED:
        return 1
    return -1 if outcome in (WRITTEN, EXISTING) or outcome.startswith(REJECTED) else 0


def _write_account(
    counts: list[tuple[tuple[str, str], int]],
    lost: list[tuple[Key, int]],
    path: str,
    amounts: Iterable[tuple[tuple[str, str], int]],
) -> None:
    rows = sorted([split, outcome, n] for (split, outcome), n in [*counts, *amounts])
    missing = [[*key, balance] for key, balance in lost]
    write_output(path, json.dumps({"counts": rows, "lost": missing}).encode())
