"""Tables, sizes, durations and results as text."""

from pipeline.cli.text import format_bytes, format_duration, format_table


def test_times_are_said_as_people_do():
    said = [format_duration(s) for s in (0, 0.25, 42, 210, 42_120, 36_000_000)]
    assert said == ["0 s", "0.2 s", "42 s", "3.5 min", "11.7 h", "10,000.0 h"]


def test_a_table_has_two_columns_and_no_empty_rows():
    assert format_table({"a": "1", "long name": "2", "none": ""}) == ["a          1", "long name  2"]


def test_sizes_are_said_as_people_do():
    assert [format_bytes(n) for n in (0, 999, 1_000, 453_210, 12_345_678_901)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "453 kB",
        "12.3 GB",
    ]
