"""The account of a run: totals of its outcomes, as text and as JSON."""

import json

import pytest

from pipeline.output.account import Account

COUNTS = [
    ["train", "expected", 7],
    ["train", "written", 3],
    ["train", "rejected:corrupt", 2],
    ["train", "rejected:duplicate", 1],
    ["train", "existing", 1],
    ["train", "rejected_earlier", 4],
    ["train", "audio_ms", 2500],
    ["train", "frames", 6],
    ["eval", "expected", 1],
    ["eval", "rejected:corrupt", 1],
    ["", "file_without_segment", 5],
]


def account(lost=()) -> Account:
    return Account.from_json({"counts": COUNTS, "lost": [*map(list, lost)]})


def test_totals_are_by_split_and_of_all():
    found = account()
    assert found.splits == ["eval", "train"]
    assert [found.total(outcome) for outcome in ("expected", "written", "rejected:", "existing")] == [
        8,
        3,
        4,
        1,
    ]
    assert (found.total("rejected:", "eval"), found.total("written", "eval")) == (1, 0)
    assert (found.audio_s, found.frames, found.reject_fraction) == (2.5, 6, 0.5)
    assert Account.from_json({"counts": [], "lost": []}).reject_fraction == 0


def test_reasons_are_sorted_and_earlier_rejects_are_not_among_them():
    assert account().reasons() == {"corrupt": 3, "duplicate": 1}
    assert (
        account().reasons("eval") == {"corrupt": 1} and account().reasons_text() == "corrupt 3, duplicate 1"
    )


def test_the_text_has_a_line_per_split_if_there_are_several():
    assert account().lines() == [
        "clips expected 8 = written 3 + rejected 4 + existing 1",
        "  eval 1 = written 0 + rejected 1 + existing 0",
        "  train 7 = written 3 + rejected 3 + existing 1",
        "rejected of eval by reason: corrupt 1",
        "rejected of train by reason: corrupt 2, duplicate 1",
        "rejected by earlier runs, and not among these inputs: 4",
        "files without a segment: 5",
    ]


@pytest.mark.parametrize("count, more", [(1, ""), (10, ""), (11, " and more, listed in the manifest")])
def test_lost_clips_are_named(count, more):
    found = account([("train", f"id{n}", 500, 1) for n in range(count)])
    assert not found.is_balanced and account().is_balanced
    line = found.lines()[-1]
    assert "train/id0 at 0.5 s" in line and f"{more}; run the same command again" in line
    assert ("id9 " in line) == (count > 9) and "id10" not in line


def test_the_json_has_all_splits_and_the_file_is_read(tmp_path):
    (tmp_path / "_run").mkdir()
    (tmp_path / "_run" / "account.json").write_text(json.dumps({"counts": COUNTS, "lost": []}))
    found = Account.read(str(tmp_path))
    assert found == account()
    assert found.to_json() == {
        "expected": {"eval": 1, "train": 7},
        "written": {"eval": 0, "train": 3},
        "rejected": {"eval": 1, "train": 3},
        "existing": {"eval": 0, "train": 1},
        "rejected_by_reason": {"eval": {"corrupt": 1}, "train": {"corrupt": 2, "duplicate": 1}},
        "rejected_earlier": 4,
        "files_without_segment": 5,
        "segments_without_file": 0,
        "balanced": True,
        "lost": [],
    }
