"""Fine-tuning learns, resumes after a kill, and saves weights that embed."""

import json
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile
from commands import ROOT, run_command
from sounds import write_noise

from pipeline import run
from pipeline.verify import verify_folder
from transforms.vggish.checkpoint import read_weights

pytestmark = pytest.mark.integration

SCRIPT = str(ROOT / "examples" / "fine_tune.py")
TRIAL = ["--weights=random:0", "--clips=12", "--batch_size=16"]


def fine_tune(*flags: str, status: int = 0) -> str:
    result = run_command(SCRIPT, *flags)
    assert result.returncode == status, result.stderr
    return result.stdout if status == 0 else result.stderr


def accuracy(out: str) -> float:
    (line,) = [line for line in out.splitlines() if line.startswith("accuracy on held-out examples: ")]
    return float(line.split()[-1].rstrip("%")) / 100


def test_training_of_all_weights_learns_and_its_weights_embed(tmp_path):
    out = fine_tune("--weights=random:0", f"--output={tmp_path}/tuned")
    assert accuracy(out) >= 0.95
    weights = tmp_path / "tuned" / "vggish.weights.h5"
    tuned, before = read_weights(str(weights)), read_weights("random:0")
    assert all(not np.array_equal(tuned[name], before[name]) for name in before)
    model = keras.models.load_model(tmp_path / "tuned" / "model.keras")
    probabilities = model.predict(np.zeros((2, 96, 64), np.float32), verbose=0)
    assert probabilities.shape == (2, 3) and np.allclose(probabilities.sum(axis=1), 1)
    assert json.loads((tmp_path / "tuned" / "classes.json").read_text()) == ["sine", "constant", "noise"]

    write_noise(tmp_path / "audio" / "one.wav", 2.0)
    flags = ["--runner=FnApiRunner", "--pca_params=none", f"--input={tmp_path}/audio/*"]
    for name, source in (("tuned", weights), ("before", "random:0")):
        assert run.run([*flags, f"--weights={source}", f"--output={tmp_path}/of_{name}"]) == 0
        assert verify_folder(f"{tmp_path}/of_{name}").problems == []
    shards = [
        (tmp_path / folder / "train" / "on.tfrecord").read_bytes() for folder in ("of_tuned", "of_before")
    ]
    assert shards[0] != shards[1]


def test_frozen_training_on_recordings_learns_and_does_not_change_vggish(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        write_noise(tmp_path / "audio" / "hiss" / f"{number}.wav", 3.0, 22_050, seed=number)
        times_s = np.arange(3 * 44_100) / 44_100
        tone = 0.5 * np.sin(2 * np.pi * rng.uniform(200, 2_000) * times_s)
        path = tmp_path / "audio" / "tone" / f"{number}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone, 44_100)
    flags = [*TRIAL, "--frozen", "--epochs=6", f"--audio={tmp_path}/audio"]
    out = fine_tune(*flags, f"--output={tmp_path}/tuned")
    assert "2 classes (hiss, tone)" in out and accuracy(out) >= 0.95
    tuned = read_weights(str(tmp_path / "tuned" / "vggish.weights.h5"))
    assert all(np.array_equal(tuned[name], values) for name, values in read_weights("random:0").items())
    error = fine_tune(*flags, f"--output={tmp_path}/tuned", status=2)
    assert "already contains model.keras" in error and len(error.strip().splitlines()) == 1


def test_a_killed_training_resumes_after_its_last_complete_epoch(tmp_path):
    flags = [*TRIAL, "--frozen", "--epochs=5"]
    command = [sys.executable, SCRIPT, *flags, f"--output={tmp_path}/killed"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    checkpoint = tmp_path / "killed" / "checkpoint" / "training_metadata.json"
    lines = []
    while not lines or not lines[-1].startswith("epoch 3"):
        lines.append(process.stdout.readline())
        assert lines[-1], process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert json.loads(checkpoint.read_text())["epoch"] >= 2
    assert "started with seed 0, but this command has 1" in fine_tune(
        *flags, "--seed=1", f"--output={tmp_path}/killed", status=2
    )
    resumed = fine_tune(*flags, f"--output={tmp_path}/killed")
    epochs = [line.split(":")[0] for line in resumed.splitlines() if line.startswith("epoch ")]
    assert epochs in (["epoch 3", "epoch 4", "epoch 5"], ["epoch 4", "epoch 5"])
    whole = fine_tune(*flags, f"--output={tmp_path}/whole")

    def last(out: str) -> list[str]:
        return [line for line in out.splitlines() if line.startswith(("epoch 5", "accuracy"))]

    assert last(resumed) == last(whole)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda f: f / "nowhere", "give a folder with one folder of audio files per class"),
        (
            lambda f: (f / "only" / "x").mkdir(parents=True) or f / "only",
            "one folder of audio files per class",
        ),
        (
            lambda f: (write_noise(f / "a" / "1.wav", 0.2), write_noise(f / "b" / "1.wav", 2.0)) and f,
            "a/1.wav: 0.2",
        ),
        (lambda f: [(f / n).mkdir() for n in "ab"] and f, "has no file to train on"),
    ],
)
def test_mistakes_are_one_line(make, message, tmp_path):
    (tmp_path / "in").mkdir()
    error = fine_tune(*TRIAL, f"--audio={make(tmp_path / 'in')}", f"--output={tmp_path}/out", status=2)
    assert message in error and len(error.strip().splitlines()) == 1, error
    # Another attempt with other options is not refused because of the first one's settings.
    error = fine_tune(*TRIAL, "--seed=1", f"--audio={tmp_path}/none", f"--output={tmp_path}/out", status=2)
    assert "give a folder with one folder of audio files per class" in error
