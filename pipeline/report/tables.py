"""The rows of the report's tables of clips and rejects."""

import itertools
from collections.abc import Mapping, Sequence

from pipeline.output.account import Account
from pipeline.output.run_files import REJECTED_LIST, list_files
from pipeline.report.notes import MEANINGS
from transforms.errors import Reason
from transforms.features.sample import SampledClip
from transforms.redact import shown_text
from transforms.rejects import read_rejected

# Rows of a table, so that the page stays small.
MAX_ROWS = 300


def clip_rows(
    clips: Sequence[SampledClip], class_names: Mapping[int, str]
) -> list[tuple[str, str, float, float, int, str]]:
    """Returns (id, split, start in seconds, length in seconds, frames, labels) of sampled clips."""
    rows = [
        (
            segment.video_id,
            segment.split,
            segment.start_s,
            segment.end_s - segment.start_s,
            len(frames),
            ", ".join(class_names.get(label, f"class {label}") for label in segment.labels),
        )
        for segment, frames in clips[:: -(-len(clips) // MAX_ROWS) or 1]
    ]
    return sorted(rows, key=lambda row: (row[1], row[0], row[2]))


def reject_reasons(account: Account) -> list[tuple[str, int, str]]:
    """Returns (reason, number of clips, what it means and what to do), the most frequent first."""
    reasons = sorted(account.reasons().items(), key=lambda item: (-item[1], item[0]))
    return [(reason, number, MEANINGS[Reason(reason)]) for reason, number in reasons]


def reject_rows(output: str) -> list[tuple[str, str, str]]:
    """Returns (file, reason, message) of the first rejected clips in the lists of a folder."""
    found = (clip for path in list_files(output, REJECTED_LIST) for clip in read_rejected(path))
    return [
        (
            shown_text(clip.file if clip.offset is None else f"{clip.file} at {clip.offset}"),
            clip.reason.value,
            shown_text(clip.message),
        )
        for clip in itertools.islice(found, MAX_ROWS)
    ]
