import json
from collections import Counter
from dataclasses import dataclass

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipeline.output.account import Account
from transforms import write_account
from transforms.clips import RejectedClip
from transforms.errors import Reason
from transforms.write_account import (
    EXISTING,
    EXPECTED,
    REJECTED_EARLIER,
    WRITTEN,
    WriteAccount,
    WriteJsonLines,
    num_files,
)


@dataclass(frozen=True)
class Value:
    number: int

    def to_json(self):
        return {"number": self.number}


def write_lines(folder, numbers) -> list[str]:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([Value(n) for n in numbers]) | WriteJsonLines(str(folder / "list"))
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("count", "files"), [(0, 1), (1, 1), (10, 1), (11, 2), (25, 3)])
def test_a_list_has_every_line_once_in_the_expected_number_of_files(tmp_path, monkeypatch, count, files):
    monkeypatch.setattr(write_account, "_FILE_LINES", 10)
    assert num_files(count) == files
    names = write_lines(tmp_path / "a", range(count))
    assert names == [f"list-{n:05d}-of-{files:05d}.jsonl" for n in range(files)]
    lines = [line for name in names for line in (tmp_path / "a" / name).read_text().splitlines()]
    assert sorted(json.loads(line)["number"] for line in lines) == list(range(count))
    # Beam reads them too, and their bytes depend on the lines alone.
    if count:
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            read = pipeline | beam.io.ReadFromText(f"{tmp_path}/a/list-*") | beam.Map(json.loads)
            assert_that(read, equal_to([{"number": n} for n in range(count)]))
    write_lines(tmp_path / "b", reversed(range(count)))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def close(tmp_path, events) -> Account:
    path = tmp_path / "account.json"
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(events) | WriteAccount(str(path))
    return Account.from_json(json.loads(path.read_text()))


def rejected(name: str, reason: Reason) -> tuple:
    return write_account.rejected(RejectedClip("eval", name, 0.0, f"{name}.wav", None, "s", reason, "m"))


A, B, C, D = (("eval", name, 0) for name in "abcd")


def test_a_balanced_account(tmp_path):
    found = close(
        tmp_path,
        [
            *[(key, EXPECTED) for key in (A, A, B, C, ("train", "a", 500))],
            (A, WRITTEN),
            rejected("a", Reason.DUPLICATE),
            rejected("b", Reason.CORRUPT),
            (C, EXISTING),
            (("train", "a", 500), WRITTEN),
            write_account.event(
                RejectedClip("eval", "x", 0, "x", None, "s", Reason.CORRUPT, "m"), REJECTED_EARLIER
            ),
        ],
    )
    assert found.is_balanced and found.lost == ()
    assert found.to_json() == {
        "expected": {"eval": 4, "train": 1},
        "written": {"eval": 1, "train": 1},
        "rejected": {"eval": 2, "train": 0},
        "existing": {"eval": 1, "train": 0},
        "rejected_by_reason": {"eval": {"corrupt": 1, "duplicate": 1}, "train": {}},
        "rejected_earlier": 1,
        "files_without_segment": 0,
        "segments_without_file": 0,
        "balanced": True,
        "lost": [],
    }
    assert found.reject_fraction == 0.4
    assert found.lines()[0] == "clips expected 5 = written 2 + rejected 2 + existing 1"


def test_a_missing_clip_and_a_surplus_one_do_not_cancel_out(tmp_path):
    found = close(tmp_path, [(A, EXPECTED), (B, EXPECTED), (A, WRITTEN), (A, WRITTEN)])
    assert not found.is_balanced
    assert found.lost == (("eval", "a", 0, -1), ("eval", "b", 0, 1))
    assert "THE COUNTS DO NOT ADD UP for eval/a at 0.0 s, eval/b at 0.0 s;" in found.lines()[-1]


def test_an_empty_account_is_balanced_without_rejects():
    assert Account(Counter()).reject_fraction == 0
    assert Account(Counter()).is_balanced
