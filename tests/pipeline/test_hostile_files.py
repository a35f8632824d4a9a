"""Invalid or damaged files in `_run` are one line that names the file."""

import json

import pytest
from sounds import write_noise
from trial_runs import REJECTED, TRIAL, refusal

from pipeline import run

pytestmark = pytest.mark.usefixtures("stand_in_network")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_noise(folder / "audio" / "ab1.wav", 1.0)
    (folder / "audio" / "bad.wav").write_text("no audio")
    assert run.run([*TRIAL, f"--input={folder}/audio/*", f"--output={folder}/out"]) == 0
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "from_the_future"},
        {"start_s": "0"},
        {"start_s": float("nan")},
        {"offset": "1"},
        {"file": None},
        {"id": 5},
        {"split": ["train"]},
        {"sha256": 1},
    ],
)
def test_a_rejected_clip_with_a_wrong_value_is_one_line(finished, change):
    path = finished / "out" / "_run" / REJECTED
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), **change}) + "\n")
        for flags in ([f"--input_rejects={path}"], [f"--input={finished}/audio/*"]):
            message = refusal([*TRIAL, *flags, f"--output={finished}/out"])
            assert f"{path}, line 1: " in message and "give the lists that a run wrote" in message
    finally:
        path.write_text(text)


def test_a_deep_line_of_rejects_is_one_line(finished, tmp_path):
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    message = refusal([*TRIAL, f"--input_rejects={tmp_path}/deep.jsonl", f"--output={tmp_path}/out"])
    assert "deep.jsonl, line 1: not a rejected clip" in message
