"""The trial of --plan embeds clips for two seconds."""

import time

import numpy as np
import pytest
from sounds import write_bad_files, write_noise
from trial_runs import TRIAL

from pipeline.cli.options import parse_options
from pipeline.job import trial
from pipeline.job.config import prepare
from pipeline.job.validate import validate
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ClipSettings, clips_of_file

pytestmark = pytest.mark.usefixtures("stand_in_network")


def test_the_trial_of_a_long_recording_ends_before_it(tmp_path, monkeypatch):
    """It embeds the first minutes, and counts them as a share of the recording."""
    write_noise(tmp_path / "long.wav", 1_300.0, 16_000)
    embed = trial.embed_chunks
    monkeypatch.setattr(trial, "embed_chunks", lambda *args: time.sleep(0.2) or embed(*args))
    monkeypatch.setattr(trial, "_TRIAL_S", 0.3)
    flags = [*TRIAL, f"--input={tmp_path}/long.wav", f"--output={tmp_path}/out"]
    tried = trial.try_clips(prepare(validate(parse_options(flags))))
    assert tried.wall_s >= 0.3 and 128 <= tried.frames < 1_300
    assert tried.clips == pytest.approx(tried.frames * 0.96 / 1_300)
    assert tried.audio_s == pytest.approx(tried.frames * 0.96)
    assert tried.record_bytes / tried.clips == pytest.approx(1_354 * 128, rel=0.2)


def test_the_trial_of_short_clips_ends_with_a_batch(tmp_path, monkeypatch):
    """More clips are extracted by then than fit into two seconds of a slow network."""
    write_noise(tmp_path / "a.wav", 10.0, 16_000)
    sizes, embed = [], trial.embed_chunks

    def slow(model, batch):
        sizes.append(len(batch))
        time.sleep(0.2)
        return embed(model, batch)

    monkeypatch.setattr(trial, "embed_chunks", slow)
    monkeypatch.setattr(trial, "_TRIAL_S", 0.3)
    flags = [*TRIAL, f"--input={tmp_path}/a.wav", f"--output={tmp_path}/out"]
    tried = trial.try_clips(prepare(validate(parse_options(flags))))
    assert len(sizes) <= 3 and tried.clips == sum(sizes[1:]) > 1  # the first batch compiles the model


def test_clips_without_a_pipeline_have_the_same_examples(tmp_path):
    path = write_noise(tmp_path / "a.wav", 3.0)
    write_bad_files(tmp_path)
    settings = ClipSettings("train")
    clips = [c for p in sorted(tmp_path.iterdir()) for c in clips_of_file(str(p), settings)]
    outputs = list(ExtractExamples().extract(clips))
    ((chunk, examples),) = (output for output in outputs if isinstance(output, tuple))
    assert len(outputs) == 6
    assert chunk.file == str(path) and examples.shape == (3, 96, 64) and examples.dtype == np.float32
