"""The notes name what is wrong, why, and what to do."""

import dataclasses
from collections import Counter
from types import SimpleNamespace

import numpy as np

from pipeline.output.account import Account
from pipeline.report.notes import MEANINGS, find_notes, stuck_notes
from transforms.errors import Reason
from transforms.features.sample import FrameStatistics

FRAMES = np.random.default_rng(0).integers(0, 256, (50, 128), np.uint8)
STATISTICS = FrameStatistics.of(FRAMES)
GOOD = Counter({("train", "expected"): 10, ("train", "written"): 10})


def notes(counts=GOOD, statistics=STATISTICS, sha256="0" * 64, lost=()):
    weights = SimpleNamespace(sha256=sha256, path="random:7")
    config = SimpleNamespace(
        options=SimpleNamespace(max_reject_fraction=0.05, output="/features/"),
        assets=SimpleNamespace(weights=weights),
    )
    return list(find_notes(config, Account(counts, lost), statistics))


def test_a_good_run_has_no_note():
    assert notes() == []


def test_each_problem_is_a_note_with_its_cause():
    (note,) = notes(sha256=None)
    assert (note.kind, note.title) == ("bad", "The weights are random (random:7).")
    (note,) = notes(Counter(), statistics=None, sha256=None)
    assert note.title == "The folder contains no features." and "Check --input" in note.text
    rejected = Counter({("train", "expected"): 2, ("train", "rejected:too_short"): 2})
    (note,) = notes(rejected, statistics=None)
    assert note.title == "The folder contains no features." and MEANINGS[Reason.TOO_SHORT] in note.text
    rejected = Counter({("train", "expected"): 10, ("train", "written"): 7, ("train", "rejected:corrupt"): 3})
    (note,) = notes(rejected)
    assert note.title == "30.0% of the clips were rejected."
    assert MEANINGS[Reason.CORRUPT] in note.text and "corrupt (3 clips)" in note.text
    assert "--input_rejects='/features/_run/rejected-*'" in note.text
    assert notes(lost=(("train", "clip", 0, 1),))[0].title == "Clips are missing."


def test_a_run_that_had_nothing_to_do_says_so():
    (note,) = notes(Counter({("train", "expected"): 5, ("train", "existing"): 5}))
    assert (note.kind, note.title) == ("info", "This run had nothing to compute.")
    counts = {("train", "expected"): 6, ("train", "existing"): 5, ("train", "written"): 1}
    assert notes(Counter(counts)) == []


def test_every_reason_has_a_meaning():
    assert MEANINGS.keys() == {*Reason}


def test_dimensions_that_carry_little_information_are_noted():
    assert list(stuck_notes(STATISTICS)) == []
    frames = FRAMES.copy()
    frames[:, 127] = 255
    frames[:, 3] = 7
    (note,) = stuck_notes(FrameStatistics.of(frames))
    assert (note.kind, note.title) == ("warn", "2 dimensions of 128 carry little information.")
    assert "3 (always the same), 127 (always the same)" in note.text and "normal for silence" in note.text
    frames = FRAMES.copy()
    frames[:40, 10] = 0
    (note,) = stuck_notes(FrameStatistics.of(frames))
    assert note.title == "1 dimension of 128 carry little information." and "10 (0 in 80%)" in note.text


def test_many_such_dimensions_are_probably_an_error():
    frames = FRAMES.copy()
    frames[:40, :20] = 255
    (note,) = stuck_notes(FrameStatistics.of(frames))
    assert note.kind == "bad" and "and 8 more" in note.text
    assert "Probably the weights are not trained, or the PCA parameters belong to other weights" in note.text
    constant = dataclasses.replace(STATISTICS, counts=np.array([128]), is_constant=np.ones(128, np.bool_))
    assert list(stuck_notes(constant)) == []  # one frame
