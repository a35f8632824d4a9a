"""The clips of the report are read again, only as far as their figures need."""

import numpy as np
import pytest
from sounds import write_noise
from trial_runs import TRIAL, read

from pipeline import run
from pipeline.cli.options import parse_options
from pipeline.job.config import prepare
from pipeline.job.validate import validate
from pipeline.report import examples
from pipeline.report.examples import example_clips
from transforms.audio.dsp.log_mel import log_mel_examples

pytestmark = pytest.mark.usefixtures("stand_in_network")


def config_of(folder):
    flags = [f"--input={folder}/audio/*", f"--output={folder}/out", "--split=mine"]
    flags += [f"--segments=mine={folder}/mine.csv", f"--class_labels={folder}/labels.csv"]
    return prepare(validate(parse_options([*TRIAL, *flags])))


def test_clips_with_records_are_shown_with_their_frames(copied, monkeypatch):
    records = read(copied / "out")
    found = {example.clip.video_id: example for example in example_clips(config_of(copied), 3)}
    assert found.keys() == {"one", "two"}  # the third has no audio
    for name, example in found.items():
        np.testing.assert_array_equal(example.frames, records[name][1])
        assert example.log_mel.shape == (96 * 1, 64) or example.log_mel.shape == (96 * 2, 64)
        assert len(example.log_mel) == 96 * len(example.frames) and example.log_mel.dtype == np.float32
        assert len(example.waveform) == 15_360 * (len(example.frames) - 1) + 15_600
        np.testing.assert_array_equal(
            log_mel_examples(example.waveform).reshape(-1, 64)[:96], example.log_mel[:96]
        )
    assert len(example_clips(config_of(copied), 1)) == 1
    monkeypatch.setattr(examples, "_MAX_FRAMES", 1)
    (first, _) = example_clips(config_of(copied), 3)
    assert len(first.frames) == 1 and len(first.log_mel) == 96


def test_the_sound_of_an_example_is_bounded_whatever_the_hop_is(tmp_path):
    write_noise(tmp_path / "audio" / "long.wav", 200.0)
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out", "--example_hop_seconds=60"]
    assert run.run(flags) == 0
    (example,) = example_clips(prepare(validate(parse_options(flags))), 3)
    assert len(example.frames) == 4
    assert 23 <= len(example.waveform) / 16_000 <= 25 and 2_300 <= len(example.log_mel) <= 2_500


def test_a_short_clip_is_shown_as_it_was_padded(tmp_path):
    write_noise(tmp_path / "audio" / "short.wav", 0.5)
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out", "--pad_short=repeat"]
    assert run.run(flags) == 0
    (example,) = example_clips(prepare(validate(parse_options(flags))), 3)
    assert example.log_mel.shape == (96, 64) and len(example.waveform) == 15_600
    np.testing.assert_array_equal(example.waveform[:7_600], example.waveform[8_000:])


def test_a_file_that_changed_since_the_run_is_left_out(copied):
    config = config_of(copied)
    (copied / "audio" / "one.wav").write_text("no audio now")
    (copied / "out" / "mine" / "tw.tfrecord").unlink()
    assert example_clips(config, 3) == []
