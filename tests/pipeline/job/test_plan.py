"""--plan shows what the run would do, and writes nothing."""

import json
import os

import pytest
from sounds import write_bad_files, write_noise
from trial_runs import TRIAL

from pipeline import run
from pipeline.job import plan, trial

pytestmark = pytest.mark.usefixtures("stand_in_network")


def planned(monkeypatch, capsys, *flags: str) -> dict:
    monkeypatch.setattr(trial, "_TRIAL_S", 0.3)
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
    assert (found["clips"], found["is_estimate"], found["feature_shards"], found["existing"]) == (
        3,
        False,
        2,
        0,
    )
    tried = found["trial"]
    assert tried["clips"] >= 1 and tried["frames"] == 3 * tried["clips"] == tried["audio_s"]
    assert run.run([*TRIAL, *flags]) == 0
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("train/*"))
    assert abs(found["feature_bytes"] - written) <= 0.02 * written
    assert run.run([*TRIAL, "--plan", *flags]) == 0
    lines = capsys.readouterr().out
    assert "3 clips, in 2 shards; the run skips them" in lines and "no clip is left to embed" in lines
    assert "without --plan" in lines
    assert run.run([*TRIAL, "--plan", "--overwrite", *flags]) == 0
    assert "2 shards; the run deletes all shards first" in capsys.readouterr().out


def test_a_plan_counts_the_clips_that_are_left(tmp_path, monkeypatch, capsys):
    for name in ("ab1", "ab2", "cd1", "cd2"):
        write_noise(tmp_path / "audio" / f"{name}.wav", 3.0)
    flags = [f"--input={tmp_path}/audio/ab*", f"--output={tmp_path}/out"]
    assert run.run([*TRIAL, *flags]) == 0
    capsys.readouterr()
    flags[0] = f"--input={tmp_path}/audio/*"
    found = planned(monkeypatch, capsys, *flags)
    tried = found["trial"]
    assert (found["clips"], found["existing"], found["existing_is_estimate"]) == (4, 2, False)
    assert found["wall_seconds"] == pytest.approx(2 * tried["wall_s"] / tried["clips"], abs=0.001)
    monkeypatch.setattr(plan, "_FILES_LOOKED_UP", 2)  # a larger corpus: ab1 and cd2
    found = planned(monkeypatch, capsys, *flags)
    assert (found["existing"], found["existing_is_estimate"]) == (2, True)
    monkeypatch.setattr(plan, "_FILES_LOOKED_UP", 1)  # ab1 alone, from which no certainty follows
    assert run.run([*TRIAL, "--plan", *flags]) == 0
    lines = capsys.readouterr().out
    assert "about 4 clips, in 1 shard; the run skips them" in lines and "no clip is left" not in lines
    monkeypatch.setattr(plan, "_FILES_LOOKED_UP", 4)
    assert planned(monkeypatch, capsys, *flags)["existing_is_estimate"] is False
    assert planned(monkeypatch, capsys, *flags, "--overwrite")["existing"] == 0


def test_a_plan_counts_the_clips_of_recordings(tmp_path, monkeypatch, capsys):
    write_noise(tmp_path / "a.wav", 60.0)
    write_noise(tmp_path / "b.wav", 20.5)
    (tmp_path / "c.wav").write_bytes(b"damaged")
    flags = [f"--input={tmp_path}/*.wav", f"--output={tmp_path}/out", "--segment_seconds=10"]
    found = planned(monkeypatch, capsys, *flags)
    tried = found["trial"]
    assert (found["clips"], found["is_estimate"]) == (6 + 2 + 1, True)
    assert found["wall_seconds"] == pytest.approx(9 * tried["wall_s"] / tried["clips"], abs=0.001)
    assert run.run([*TRIAL, *flags]) == 0
    capsys.readouterr()
    assert planned(monkeypatch, capsys, *flags)["existing"] == 6  # two of three recordings, as many as all


def test_a_plan_of_inputs_that_cannot_be_embedded(tmp_path, monkeypatch, capsys):
    write_bad_files(tmp_path / "audio")
    found = planned(monkeypatch, capsys, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out")
    assert found["clips"] == 5 and found["trial"]["clips"] == 0 and found["wall_seconds"] is None
    rejected = found["trial"]["rejected"]
    assert rejected == {"corrupt": 1, "not_audio": 2, "not_finite": 1, "too_short": 1}
    assert found["trial"]["first_reject"].startswith(f"{tmp_path}/audio/empty.wav: ")
