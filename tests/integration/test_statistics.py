"""Statistics and PCA by the commands, on every runner of this machine, compared with NumPy."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from commands import run_command
from sounds import read_mono, resample, write_bad_files, write_noise

from transforms.audio.decode import open_audio
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audioset.example import decode_example, encode_example
from transforms.audioset.segments import Segment
from transforms.storage.tfrecord import frame_records

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="TensorFlow Transform needs Python 3.11"),
]

RUNNERS = {
    "direct": ["--runner=DirectRunner"],
    "two_processes": [
        "--runner=DirectRunner",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    ],
    "portable": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
}
TRIAL = ["--runner=FnApiRunner", "--weights=random:0", "--max_reject_fraction=1"]


def command(name: str, *flags: str) -> str:
    result = run_command("-m", f"pipeline.{name}", *flags)
    assert result.returncode == 0, result.stderr
    return result.stdout


def frames_of(folder: Path) -> np.ndarray:
    """Returns all frames of a folder, read with TensorFlow's reader."""
    paths = sorted(map(str, folder.glob("*/*.tfrecord")))
    frames = [decode_example(record.numpy(), "")[1] for record in tf.data.TFRecordDataset(paths)]
    return np.concatenate([own for own in frames if len(own)])


def write_raw(folder: Path) -> None:
    """Creates 16,000 embeddings whose axes have well separated variances, in the 20 shards of one split."""
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    stds = np.geomspace(3, 0.01, 128)
    for n in range(20):
        frames = ((rng.standard_normal((800, 128)) * stds) @ axes + rng.standard_normal(128)).astype(
            np.float32
        )
        path = folder / "ab" / f"{n:02d}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame_records([encode_example(Segment("ab", f"{n:02d}", 0.0, 768.0), frames)]))


def check_moments(values: dict, frames: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(values["mean"], frames.mean(axis=0), rtol=0, atol=atol)
    np.testing.assert_allclose(values["covariance"], np.cov(frames, rowvar=False), rtol=0, atol=atol)
    for fraction, quantiles in values["quantiles"].items():
        # The rank may differ by a thousandth, plus 1.5 frames.
        error = 0.001 + 1.5 / len(frames)
        around = [np.quantile(frames, float(fraction) + e, axis=0) for e in (-error, error)]
        assert (around[0] - 1e-6 <= quantiles).all() and (quantiles <= around[1] + 1e-6).all()


def test_runners_agree_with_numpy_and_the_parameters_are_used(tmp_path):
    write_raw(tmp_path / "raw")
    frames = frames_of(tmp_path / "raw").astype(np.float64)
    variances, axes = np.linalg.eigh(np.cov(frames, rowvar=False))
    expected = (axes / np.sqrt(variances)).T[::-1]
    expected *= np.sign(np.take_along_axis(expected, np.abs(expected).argmax(axis=1)[:, None], axis=1))
    whitened = (frames - frames.mean(axis=0)) @ expected.T
    for name, runner in RUNNERS.items():
        command("analyze", *runner, f"--features={tmp_path}/raw", f"--output={tmp_path}/{name}")
        check_moments(json.loads((tmp_path / f"{name}.json").read_text())["values"], frames, 1e-10)
        path = tmp_path / f"{name}.npz"
        flags = [f"--features={tmp_path}/raw", f"--output={path}", "--quantization_quantile=0.02"]
        command("fit_pca", *runner, *flags)
        with np.load(path) as params:
            assert set(params) == {"pca_eigen_vectors", "pca_means", "quantization_range"}
            np.testing.assert_allclose(params["pca_eigen_vectors"], expected, rtol=0, atol=1e-6)
            np.testing.assert_allclose(params["pca_means"], frames.mean(axis=0), rtol=0, atol=1e-6)
            low, high = params["quantization_range"]
        assert (whitened < low).mean() == pytest.approx(0.02, abs=2e-4)
        assert (whitened > high).mean() == pytest.approx(0.02, abs=2e-4)


def test_a_corpus_with_its_own_parameters(tmp_path):
    for n in range(8):
        # Loudness and rate change in steps, so that embeddings vary in all directions of the network.
        write_noise(tmp_path / "audio" / f"{n:02d}.wav", 60.0, 16_000 + 1000 * n, seed=n)
    inputs = f"--input={tmp_path}/audio/*"
    command("run", *TRIAL, inputs, f"--output={tmp_path}/raw", "--postprocess=raw")
    fit = [f"--features={tmp_path}/raw", f"--output={tmp_path}/own.npz", "--quantization_quantile=0.05"]
    command("fit_pca", "--runner=FnApiRunner", *fit)
    command("run", *TRIAL, inputs, f"--output={tmp_path}/own", f"--pca_params={tmp_path}/own.npz")
    fused = ["--frontend=accelerator", f"--output={tmp_path}/fused"]
    command("run", *TRIAL, inputs, f"--pca_params={tmp_path}/own.npz", *fused)
    with np.load(tmp_path / "own.npz") as params:
        low, high = params["quantization_range"].tolist()
    for name in ("own", "fused"):
        manifest = json.loads((tmp_path / name / "_run" / "manifest.json").read_text())
        assert manifest["settings"]["quantization_range"] == [low, high]
    assert "is good" in command("verify", f"{tmp_path}/own", f"--against={tmp_path}/fused")
    statistics = f"{tmp_path}/statistics"
    command("analyze", "--runner=FnApiRunner", f"--features={tmp_path}/own", f"--output={statistics}")
    found = json.loads(Path(f"{statistics}.json").read_text())
    assert found["quantization_range"] == [low, high]
    for end in ("0", "255"):
        assert np.mean(found["values"]["clipped"][end]) == pytest.approx(0.05, abs=0.005)
    step = (high - low) / 255
    check_moments(found["values"], frames_of(tmp_path / "own") * step + low, 1e-9)


def test_audio_is_counted_and_its_bands_are_those_of_numpy(tmp_path):
    rates = [16_000, 44_100, 48_000]
    paths = [
        write_noise(tmp_path / "audio" / f"{n}.wav", 2.0 + n, rate, seed=n) for n, rate in enumerate(rates)
    ]
    examples = []
    for path, rate_hz in zip(paths, rates, strict=True):
        with open(path, "rb") as file, open_audio(file) as stream:
            examples.append(log_mel_examples(resample(read_mono(stream), rate_hz)))
    bands = np.concatenate(examples).reshape(-1, 64).astype(np.float64)
    bad = write_bad_files(tmp_path / "audio")
    write_noise(tmp_path / "audio" / "again" / "0.wav", 1.0)  # a second file for the same clip
    reasons = {reason: list(bad.values()).count(reason) for reason in sorted(bad.values())} | {"duplicate": 1}
    for name, runner in RUNNERS.items():
        shown = command("analyze", *runner, f"--input={tmp_path}/audio/**", f"--output={tmp_path}/{name}")
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["rejected"] == reasons
        assert (found["clips"], found["frames"]) == (3, sum(map(len, examples)))
        assert found["hours"] == pytest.approx(9 / 3600)
        assert "rejected 6 clips: corrupt 1, duplicate 1," in shown
    # Without the duplicate: its log-mel frames are already counted when it is found.
    (tmp_path / "audio" / "again" / "0.wav").unlink()
    command("analyze", *RUNNERS["direct"], f"--input={tmp_path}/audio/*.wav", f"--output={tmp_path}/out")
    log_mel = json.loads((tmp_path / "out.json").read_text())["log_mel"]
    assert log_mel["frames"] == len(bands)
    np.testing.assert_allclose(log_mel["mean"], bands.mean(axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_mel["variance"], bands.var(axis=0, ddof=1), rtol=0, atol=1e-6)


def test_audio_without_a_frame_is_counted_too(tmp_path):
    write_bad_files(tmp_path / "audio")
    shown = command("analyze", *RUNNERS["direct"], f"--input={tmp_path}/audio/*")
    assert "0 clips, 0 frames, 0.00 hours" in shown and "rejected 5 clips" in shown


def test_the_released_split_by_numpy(shared, tmp_path):
    folder = shared / "data" / "audioset_release"
    labels = f"--assets_dir={shared}/data/audioset"
    command("analyze", "--runner=FnApiRunner", labels, f"--features={folder}", f"--output={tmp_path}/out")
    found = json.loads((tmp_path / "out.json").read_text())
    codes = frames_of(folder)
    assert (found["clips"], found["frames"]) == (22_160, len(codes))
    check_moments(found["values"], codes * (4 / 255) - 2.0, 1e-10)
    np.testing.assert_allclose(found["values"]["clipped"]["0"], (codes == 0).mean(axis=0), rtol=0, atol=1e-11)
    assert found["splits"]["bal_train"]["labels"]["0"]["name"] == "Speech"
