"""--plan shows what the run would do, and writes nothing."""

import io
import json
import os

import numpy as np
import pytest
import soundfile
from sounds import noise, write_bad_files, write_noise
from trial_runs import TRIAL

from pipeline import run
from pipeline.cli.options import parse_options
from pipeline.job import plan, trial
from pipeline.job.config import prepare
from pipeline.job.validate import validate
from transforms.audio.decoder import InProcessDecoder
from transforms.audio_shards.items import ShardClip
from transforms.audio_shards.write import PackedClip, write_tar
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import RejectedClip
from transforms.errors import Reason
from transforms.features.folder_shards import ShardNotes
from transforms.storage.tfrecord import frame_records

pytestmark = pytest.mark.usefixtures("stand_in_network")


def planned(monkeypatch, capsys, *flags: str) -> dict:
    monkeypatch.setattr(trial, "_TRIAL_S", 0.1)
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


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Returns what a plan counts, without its trial and without processes that decode."""

    class Decoder(InProcessDecoder):
        def close(self) -> None:
            pass

    monkeypatch.setattr(plan, "IsolatedDecoder", Decoder)
    monkeypatch.setattr(plan, "try_clips", lambda config: trial.Trial(2.0, 6, 6.0, 1.0, 1_000))

    def make(*flags: str) -> plan.Plan:
        given = [*TRIAL, "--plan", f"--output={tmp_path}/out", *flags]
        return plan.make_plan(prepare(validate(parse_options(given))))

    return make


def write_shard(path, *clips: ShardClip) -> None:
    path.write_bytes(b"".join(write_tar(map(PackedClip, clips))))


def write_four_shards(folder) -> None:
    """Shards of 3, 1, 2 and 2 clips; the plan counts those of the first two."""
    for shard, names in enumerate((("ab1", "ab2", "ab3"), ("cd1",), ("ef1", "ef2"), ("gh1", "gh2"))):
        write_shard(folder / f"{shard}.tar", *(ShardClip(0, name, b"audio") for name in names))


def write_record(folder, video_id: str) -> None:
    """A shard of an earlier run with one record."""
    record = encode_example(Segment("train", video_id, 0.0, 1.0), np.zeros((1, 128), np.uint8))
    path = folder / "train" / f"{video_id[:2]}.tfrecord"
    path.parent.mkdir(parents=True)
    path.write_bytes(frame_records([record]))
    ShardNotes(str(folder)).begin([f"train/{path.name}"])


@pytest.mark.parametrize(
    "glob, clips, is_estimate", [("0.tar", 3, False), ("[01].tar", 4, False), ("*.tar", 4 * 2, True)]
)
def test_the_clips_of_shards_are_those_of_the_first_two_for_all(tmp_path, counted, glob, clips, is_estimate):
    write_four_shards(tmp_path)
    found = counted(f"--input={tmp_path}/{glob}")
    assert (found.clips, found.is_estimate, found.existing) == (clips, is_estimate, 0)
    assert found.inputs == {"tar": {"0.tar": 1, "[01].tar": 2, "*.tar": 4}[glob]}
    assert found.feature_shards is None and "number unknown until the input shards are read" in " ".join(
        found.lines()
    )


def test_the_number_of_hashed_shards_is_known_and_the_option_gives_the_form(tmp_path, counted):
    write_four_shards(tmp_path)
    (tmp_path / "0.tar").rename(tmp_path / "packed")
    found = counted(f"--input={tmp_path}/packed", "--sharding=hash:5", "--input_format=tar")
    assert (found.inputs, found.clips, found.feature_shards) == ({"tar": 1}, 3, 5)


def test_clips_of_shards_that_exist_are_extrapolated_too(tmp_path, counted):
    write_four_shards(tmp_path)
    write_record(tmp_path / "out", "ab2")
    found = counted(f"--input={tmp_path}/*.tar")
    assert (found.clips, found.existing, found.existing_is_estimate) == (8, 2, True)
    assert (found.existing_shards, found.overwrites, found.wall_s) == (1, False, (8 - 2) / 2.0)
    found = counted(f"--input={tmp_path}/0.tar")
    assert (found.clips, found.existing, found.existing_is_estimate) == (3, 1, False)
    found = counted(f"--input={tmp_path}/0.tar", "--overwrite")
    assert (found.clips, found.existing, found.existing_shards, found.overwrites) == (3, 0, 1, True)


def test_clips_with_times_are_not_cut_and_damaged_ones_count_once(tmp_path, counted):
    file = io.BytesIO()
    soundfile.write(file, noise(10.0), 16_000, format="WAV")
    audio = file.getvalue()
    with_times, recording = ShardClip(0, "a", audio, 0.0, 9.0), ShardClip(0, "b", audio)
    damaged = ShardClip(0, "c", b"damaged")
    cut = "--segment_seconds=2"
    for number, (clips, expected) in enumerate(
        [((with_times,), 1), ((recording,), 5), ((damaged,), 1), ((with_times, recording), 6)]
    ):
        write_shard(tmp_path / f"{number}.tar", *clips)
        found = counted(f"--input={tmp_path}/{number}.tar", cut)
        assert (found.clips, found.is_estimate) == (expected, True)
    assert counted(f"--input={tmp_path}/3.tar").clips == 2


def test_a_plan_of_rejects_counts_the_files_in_the_lists(tmp_path, counted):
    clips = [
        RejectedClip("train", name, 0.0, f"/d/{name}.wav", None, "s", Reason.CORRUPT, "m")
        for name in ("ab1", "ab2", "cd1")
    ]
    lines = "".join(f"{json.dumps(clip.to_json())}\n" for clip in clips)
    (tmp_path / "rejected.jsonl").write_text(lines)
    found = counted(f"--input_rejects={tmp_path}/rejected.jsonl")
    assert (found.clips, found.inputs, found.feature_shards) == (3, {"audio": 3}, 2)
    assert found.input_bytes is None and found.lines()[0].split(maxsplit=1) == ["inputs", "3 audio"]
    assert not (tmp_path / "out").exists()
