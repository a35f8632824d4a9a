"""--plan shows what the run would do, and writes nothing."""

import json
import os
import time

import numpy as np
import pytest
from sounds import write_bad_files, write_noise
from trial_runs import TRIAL

from pipeline import run
from pipeline.job import plan
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ClipSettings, clips_of_file

pytestmark = pytest.mark.usefixtures("stand_in_network")


def planned(monkeypatch, capsys, *flags: str) -> dict:
    monkeypatch.setattr(plan, "_TRIAL_S", 0.3)
    assert run.run([*TRIAL, "--plan", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_counts_and_writes_nothing(tmp_path, monkeypatch, capsys):
    audio = [write_noise(tmp_path / "audio" / f"{name}.wav", 3.0) for name in ("ab1", "ab2", "cd1")]
    flags = [f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out"]
    (tmp_path / "audio" / "._ab1.wav").touch()
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(path) or scandir(path))
    found = planned(monkeypatch, capsys, *flags)
    assert listed.count(f"{tmp_path}/audio") == 1
    assert found["skipped"] == "1 name that begins with a dot" and found["trial"]["rejected"] == {}
    assert not (tmp_path / "out").exists()
    assert found["inputs"] == {"audio": 3} and found["input_bytes"] == sum(p.stat().st_size for p in audio)
    assert (found["clips"], found["is_estimate"], found["feature_shards"], found["there"]) == (3, False, 2, 0)
    trial = found["trial"]
    assert trial["clips"] >= 1 and trial["frames"] == 3 * trial["clips"] == trial["audio_s"]
    assert run.run([*TRIAL, *flags]) == 0
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("train/*"))
    assert abs(found["feature_bytes"] - written) <= 0.02 * written
    assert run.run([*TRIAL, "--plan", *flags]) == 0
    lines = capsys.readouterr().out
    assert "2 shards; the run skips their clips" in lines and "without --plan" in lines


def test_the_trial_of_a_long_recording_ends_before_it(tmp_path, monkeypatch, capsys):
    """It embeds the first minutes, and counts them as a share of the recording."""
    write_noise(tmp_path / "long.wav", 1_300.0, 16_000)
    embed = plan.embed_chunks
    monkeypatch.setattr(plan, "embed_chunks", lambda *args: time.sleep(0.2) or embed(*args))
    found = planned(monkeypatch, capsys, f"--input={tmp_path}/long.wav", f"--output={tmp_path}/out")
    trial = found["trial"]
    assert trial["wall_s"] >= 0.3 and 128 <= trial["frames"] < 1_300
    assert trial["clips"] == pytest.approx(trial["frames"] * 0.96 / 1_300)
    assert trial["audio_s"] == pytest.approx(trial["frames"] * 0.96)
    assert found["wall_seconds"] == pytest.approx(trial["wall_s"] / trial["clips"], rel=0.01)
    assert found["feature_bytes"] == pytest.approx(1_354 * 128, rel=0.2)


def test_a_plan_of_inputs_that_cannot_be_embedded(tmp_path, monkeypatch, capsys):
    write_bad_files(tmp_path / "audio")
    found = planned(monkeypatch, capsys, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out")
    assert found["clips"] == 5 and found["trial"]["clips"] == 0 and found["wall_seconds"] is None
    rejected = found["trial"]["rejected"]
    assert rejected == {"corrupt": 1, "not_audio": 2, "not_finite": 1, "too_short": 1}
    assert found["trial"]["first_reject"].startswith(f"{tmp_path}/audio/empty.wav: ")


def test_clips_without_a_pipeline_have_the_same_examples(tmp_path):
    path = write_noise(tmp_path / "a.wav", 3.0)
    write_bad_files(tmp_path)
    settings = ClipSettings("train")
    clips = [c for p in sorted(tmp_path.iterdir()) for c in clips_of_file(str(p), settings)]
    outputs = list(ExtractExamples().extract(clips))
    ((chunk, examples),) = (output for output in outputs if isinstance(output, tuple))
    assert len(outputs) == 6
    assert chunk.file == str(path) and examples.shape == (3, 96, 64) and examples.dtype == np.float32
