"""Why a run has no features, in one line."""

import pytest
from trial_runs import TRIAL

from pipeline import make_shards, run
from pipeline.job.no_features import why_no_clips
from transforms.audioset.names import compile_id_pattern
from transforms.read_clips import ClipSettings

pytestmark = pytest.mark.usefixtures("stand_in_network")


def test_segments_that_match_no_input_are_status_4(corpus, tmp_path, capsys):
    labels, segments = tmp_path / "labels.csv", tmp_path / "eval_segments.csv"
    labels.write_text("index,mid,display_name\n0,/m/a,A\n")
    segments.write_text('# YTID\nthe-id, 0.000, 1.000, "/m/a"\n')
    flags = [f"--input={corpus}/*/[rs]1.wav", f"--segments={segments}", f"--class_labels={labels}"]
    line = (
        "no segment matches an input: segments have ids such as 'the-id', but inputs have ids such as 'r1' "
        f"({corpus}/link/r1.wav); give --id_pattern=REGEX with a group 'id' that matches "
        "the id in a path, or give other --segments"
    )
    for more in ([], ["--plan"]):
        assert run.run([*TRIAL, *flags, f"--output={tmp_path}/out", *more]) == 4
        printed = capsys.readouterr().out
        assert line in printed and ("clips expected 0" in printed or more)
    packed = ["--runner=FnApiRunner", *flags, f"--output={tmp_path}/tar", "--format=tar"]
    assert make_shards.run(packed) == 4 and line in capsys.readouterr().out


def test_ids_that_no_pattern_finds_are_named():
    settings = ClipSettings("train", id_pattern=compile_id_pattern(r"clip-(?P<id>\d+)"))
    assert r"--id_pattern=clip-(?P<id>\d+) finds no id in any path, such as /d/top.wav" in why_no_clips(
        settings, "/d/top.wav"
    )
