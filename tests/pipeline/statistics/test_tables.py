"""Results of an analysis as tables and as JSON."""

import numpy as np
import pytest

from pipeline.statistics.tables import SideBySide, Statistics, Table, rounded
from transforms.statistics.count_clips import Count
from transforms.statistics.moments import Moments

COUNTS = [
    Count("eval", None, 2, 10, 7_200_000),
    Count("eval", 1, 2, 10, 7_200_000),
    Count("train", None, 1_500, 20, 3_600_000),
    Count("train", 0, 2, 8, 1_800_000),
    Count("train", 1, 1_000, 12, 1_800_000),
]


def moments_of(values) -> Moments:
    """The moments of vectors, float[n, d], with exact percentiles."""
    percentiles = np.percentile(values, range(1, 100), axis=0).T
    ends = [(values == end).sum(axis=0) for end in (0, 255)]
    ends = values.min(axis=0), values.max(axis=0), percentiles, *ends
    return Moments(len(values), values.mean(axis=0), np.cov(values, rowvar=False), *ends)


VALUES = np.array([[0.0, 10.0], [255.0, 20.0], [100.0, 60.0], [0.0, 30.0]])


def statistics(values=VALUES, kind="quantized") -> Statistics:
    return Statistics("folder", kind, COUNTS, moments_of(values), class_names={0: "Speech", 1: "Dog | cat"})


def test_names_are_left_aligned_and_numbers_right_aligned():
    table = Table("T", ("name", "n"), [("a", "1"), ("long name", "1,000")])
    assert [*table.lines()] == [
        "## T",
        "",
        "| name      |     n |",
        "| --------- | ----: |",
        "| a         |     1 |",
        "| long name | 1,000 |",
        "",
    ]
    assert [*table.lines(1)][-3:] == ["", "... and 1 more row, with --output", ""]
    assert "more row" not in "".join(table.lines(2))


def test_the_tables_of_a_folder():
    splits, labels, dimensions = statistics().tables()
    assert splits.rows == [("eval", "2", "10", "2.00"), ("train", "1,500", "20", "1.00")]
    assert labels.header == ("label", "name", "clips", "frames", "hours", "clips of eval", "clips of train")
    assert (
        labels.rows
        == [
            ("1", "`Dog \\| cat`", "1,002", "22", "2.50", "2", "1,000"),
            ("0", "Speech", "2", "8", "0.50", "0", "2"),
        ]
        or labels.rows[0][1] == "Dog \\| cat"
    )
    assert dimensions.rows[0][:2] == ["0", "88.7500"] and dimensions.rows[0][-2:] == ["50.0%", "25.0%"]
    assert len(dimensions.header) == len(dimensions.rows[0]) == 1 + 2 + 1 + 7 + 1 + 2


def test_of_one_split_labels_are_not_counted_by_split():
    found = Statistics("folder", "raw", COUNTS[:2], None)
    assert [table.title for table in found.tables()] == ["Splits", "Labels"]
    assert [*found.tables()][1].header == ("label", "name", "clips", "frames", "hours")
    assert found.summary() == ["- raw: folder", "- 2 clips, 10 frames, 2.00 hours"]


def test_the_summary_names_rejects_and_clipped_bytes():
    assert "- bytes represent -2 to 2; 25.00% are 0 and 12.50% are 255" in statistics().summary()
    assert not any("bytes" in line for line in statistics(kind="raw").summary())
    audio = Statistics("a/*", "audio", COUNTS, None, rejected={"corrupt": 2, "bad_record": 1})
    assert "- rejected 3 clips: bad_record 1, corrupt 2" in audio.summary()


def test_the_json_has_all_numbers():
    found = statistics().to_json()
    assert (found["clips"], found["frames"], found["hours"]) == (1_502, 30, 3.0)
    assert found["splits"]["train"]["labels"]["1"] == {
        "name": "Dog | cat",
        "clips": 1_000,
        "frames": 12,
        "hours": 0.5,
    }
    values = found["values"]
    assert values["mean"] == VALUES.mean(axis=0).tolist() and values["clipped"] == {
        "0": [0.5, 0.0],
        "255": [0.25, 0.0],
    }
    assert list(values["quantiles"]) == ["0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99"]
    assert values["quantiles"]["0.5"] == [50.0, 25.0]
    assert "clipped" not in statistics(kind="raw").to_json()["values"]


def test_two_folders_are_compared_by_their_shifts():
    both = SideBySide(statistics(kind="raw"), statistics(VALUES + np.array([0.0, 50.0]), kind="raw"))
    (table,) = both.tables()
    assert [row[0] for row in table.rows] == ["1", "0"] and float(table.rows[0][1]) < 0
    assert both.to_json()["frechet_audio_distance"] == pytest.approx(2500, rel=1e-6)
    assert any("maximum" in line and "(dimension 1)" in line for line in both.summary())


def test_json_has_twelve_digits_and_no_infinity():
    assert rounded([1 / 3, float("inf"), [np.nan, 2]]) == [0.333333333333, None, [None, 2.0]]
