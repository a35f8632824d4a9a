"""The rows of the tables of clips and rejects."""

from collections import Counter

import numpy as np

from pipeline.output.account import Account
from pipeline.report import tables
from pipeline.report.notes import MEANINGS
from pipeline.report.tables import MAX_ROWS, clip_rows, reject_reasons, reject_rows
from transforms.audioset.segments import Segment
from transforms.errors import Reason
from transforms.features.sample import SampledClip


def clip(name: str, labels=(), start_s=0.0) -> SampledClip:
    return SampledClip(Segment("train", name, start_s, start_s + 2.5, labels), np.zeros((2, 128), np.uint8))


def test_clips_are_sorted_and_have_the_names_of_their_labels():
    rows = clip_rows([clip("b", (0, 5)), clip("a", start_s=1.0)], {0: "Speech"})
    assert rows == [("a", "train", 1.0, 2.5, 2, ""), ("b", "train", 0.0, 2.5, 2, "Speech, class 5")]
    assert clip_rows([], {}) == []


def test_a_large_sample_is_thinned():
    rows = clip_rows([clip(f"{n:04}") for n in range(2_000)], {})
    assert MAX_ROWS // 2 < len(rows) <= MAX_ROWS
    assert rows[0][0] == "0000" and rows[-1][0] > "1900"


def test_the_most_frequent_reason_is_first():
    account = Account(Counter({("a", "rejected:corrupt"): 1, ("b", "rejected:too_short"): 2}))
    assert reject_reasons(account) == [
        ("too_short", 2, MEANINGS[Reason.TOO_SHORT]),
        ("corrupt", 1, MEANINGS[Reason.CORRUPT]),
    ]


def test_the_first_rejects_are_shown(copied, monkeypatch):
    rows = reject_rows(str(copied / "out"))
    assert rows and all(reason in {*Reason} for _, reason, _ in rows)
    monkeypatch.setattr(tables, "MAX_ROWS", 1)
    assert reject_rows(str(copied / "out")) == rows[:1]
