"""Tables, sizes, durations and results as text."""

import json

from pipeline.cli.text import format_bytes, format_duration, format_table, print_result


def test_durations_have_readable_units():
    said = [format_duration(s) for s in (0, 0.25, 42, 210, 42_120, 36_000_000)]
    assert said == ["0 s", "0.2 s", "42 s", "3.5 min", "11.7 h", "10,000.0 h"]


def test_a_table_has_two_columns_and_no_empty_rows():
    assert format_table({"a": "1", "long name": "2", "none": ""}) == ["a          1", "long name  2"]


def test_sizes_have_readable_units():
    assert [format_bytes(n) for n in (0, 999, 1_000, 453_210, 12_345_678_901)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "453 kB",
        "12.3 GB",
    ]


def test_units_change_at_their_limits():
    assert [format_duration(s) for s in (9.9, 10, 99.4, 100, 5_999, 6_000)] == [
        "9.9 s",
        "10 s",
        "99 s",
        "1.7 min",
        "100.0 min",
        "1.7 h",
    ]
    assert [format_bytes(n) for n in (999_000, 10**6, 10**15, 10**18)] == [
        "999 kB",
        "1 MB",
        "1 PB",
        "1e+03 PB",
    ]


def test_a_result_is_lines_or_json_without_secrets(capsys):
    values = {"weights": "https://u:p@h/w?sig=s", "clips": 2}
    print_result(["clips 2"], values, False)
    print_result(["clips 2"], values, True)
    line, _, text = capsys.readouterr().out.partition("\n")
    assert line == "clips 2" and json.loads(text) == {"weights": "https://***@h/w?sig=***", "clips": 2}
