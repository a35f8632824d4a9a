"""The summary at the end of a run."""

import json
from collections import Counter

import pytest
from sounds import write_noise
from trial_runs import TRIAL

from pipeline import run
from pipeline.job.summary import RunSummary
from pipeline.output.account import Account
from transforms.write_account import AUDIO_MS, FRAMES

pytestmark = pytest.mark.usefixtures("stand_in_network")


def test_a_run_ends_with_a_table_or_as_json(tmp_path, capsys):
    write_noise(tmp_path / "audio" / "good.wav", 3.0)
    write_noise(tmp_path / "audio" / "short.wav", 0.5)
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    printed = capsys.readouterr().out
    assert "clips expected 2 = written 1 + rejected 1 + existing 0" in printed
    assert "audio embedded  3.0 s in 3 frames" in printed and "real time" not in printed
    assert f"features        {tmp_path}/out: 1 shard, " in printed
    assert "--input_rejects" in printed and f"python -m pipeline.verify {tmp_path}/out" in printed

    assert run.run([*flags, "--json", "--max_reject_fraction=0.1"]) == run.MANY_REJECTED
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["exit_status"] == run.MANY_REJECTED and result["account"]["existing"] == {"train": 1}
    assert (result["frames"], result["audio_seconds"], result["shards"]) == (0, 0.0, 1)
    assert "rejected 50.0% of the clips" in captured.err
    manifest = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())
    assert manifest["history"][0]["audio"] == {"train": {"frames": 3, "seconds": 3.0}}


def test_the_rate_of_a_run_is_shown_from_a_minute_on():
    account = Account(Counter({("train", FRAMES): 9_000, ("train", AUDIO_MS): 9_000_000}))
    lines = {wall_s: RunSummary(account, "out", 1, 1, "00", wall_s, "").lines() for wall_s in (59.0, 60.0)}
    assert "wall time       59 s" in lines[59.0]
    assert any(line.startswith("wall time") and line.endswith(", 150x real time") for line in lines[60.0])
