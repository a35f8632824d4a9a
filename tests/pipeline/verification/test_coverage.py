"""Segments with and without a record."""

from folders import segment_flags, verified

from pipeline import verify


def test_segments_are_there_or_rejected_or_missing(copied, capsys):
    out = copied / "out"
    (copied / "mine.csv").write_text(
        'one, 0.100, 3.000, "/m/b,/m/a"\nthree, 0.100, 2.000, /m/a\none, 5.000, 7.000, /m/a\n'
        "other, 0.100, 2.000, /m/a\n"
    )
    result = verified(capsys, out, *segment_flags(copied))
    assert result["problems"] == [
        f"{out}: 'one' at 5.0 s of mine has no record and is not in the list of rejects",
        f"{out}: 'other' at 0.1 s of mine has no record and is not in the list of rejects",
    ]
    assert result["segments"] == {
        "segments": 4,
        "there": 1,
        "rejected": 1,
        "missing": 2,
        "unnamed": 1,
        "other_ends": 1,
        "other_labels": 0,
        "hidden": 0,
    }
    assert len(result["notes"]) == 2
    verify.run([str(out), *segment_flags(copied)])
    assert "segments: 4 = there 1 + rejected 1 + missing 2" in capsys.readouterr().out


def test_labels_other_than_the_segments_are_a_fault(copied, capsys):
    (copied / "mine.csv").write_text('one, 0.100, 2.000, "/m/b"\n')
    (problem,) = verified(capsys, copied / "out", *segment_flags(copied))["problems"]
    assert problem == f"{copied}/out/mine/on.tfrecord: 'one' at 0.1 s has other labels than its segment, [7]"


def test_segments_of_another_split_are_missing(copied, capsys):
    flags = [flag.replace("mine=", "eval=") for flag in segment_flags(copied)]
    assert verified(capsys, copied / "out", *flags)["segments"]["missing"] == 3
