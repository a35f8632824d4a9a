"""The command analyze: its mistakes, and its results compared with NumPy's."""

import json
import sys

import numpy as np
import pytest

from pipeline import analyze
from pipeline.cli.console import run_command
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.storage.tfrecord import frame_records

needs_tft = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="TensorFlow Transform needs Python 3.11 with this TensorFlow"
)
RUNNER = "--runner=FnApiRunner"
CLASSES = "index,mid,display_name\n0,/m/a,Speech\n1,/m/b,Dog | cat\n2,/m/c,Train\n"


def write_features(folder, frames_of_clips, split: str = "train") -> str:
    """Writes a feature folder with one shard per clip and labels 0, 1, 2, none, 0, ...; returns its path."""
    for n, frames in enumerate(frames_of_clips):
        segment = Segment(split, f"{n:02d}x", 1.0, 1.0 + 2 * len(frames), (n % 4,) if n % 4 < 3 else ())
        path = folder / split / f"{n:02d}.tfrecord"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frame_records([encode_example(segment, frames)]))
    return str(folder)


def byte_clips(seed: int, num_clips: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (int(n), 128)).astype(np.uint8) for n in rng.integers(1, 40, num_clips)]


def raw_clips(seed: int, num_clips: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    stds = np.geomspace(1, 0.02, 128)
    return [((rng.standard_normal((40, 128)) * stds) @ axes + 1).astype(np.float32) for _ in range(num_clips)]


@pytest.fixture
def classes(tmp_path) -> str:
    path = tmp_path / "classes.csv"
    path.write_text(CLASSES)
    return f"--class_labels={path}"


@needs_tft
def test_two_folders_are_compared(tmp_path, classes, capsys):
    here, there = byte_clips(0), byte_clips(1)
    flags = [
        f"--features={write_features(tmp_path / 'a', here)}",
        f"--compare={write_features(tmp_path / 'b', there)}",
    ]
    assert analyze.run([RUNNER, classes, f"--output={tmp_path}/out", *flags]) == 0
    found = json.loads((tmp_path / "out.json").read_text())

    frames, others = np.concatenate(here), np.concatenate(there)
    values, other_values = frames * (4 / 255) - 2.0, others * (4 / 255) - 2.0
    first = found["first"]
    assert (first["clips"], first["frames"], first["hours"]) == (
        12,
        len(frames),
        pytest.approx(2 * len(frames) / 3600),
    )
    assert first["splits"]["train"]["labels"]["1"] == {
        "name": "Dog | cat",
        "clips": 3,
        "frames": sum(len(clip) for clip in here[1::4]),
        "hours": pytest.approx(2 * sum(len(clip) for clip in here[1::4]) / 3600),
    }
    exact = {"rtol": 0, "atol": 1e-11}
    np.testing.assert_allclose(first["values"]["mean"], values.mean(axis=0), **exact)
    np.testing.assert_allclose(first["values"]["covariance"], np.cov(values, rowvar=False), **exact)
    np.testing.assert_allclose(first["values"]["variance"], values.var(axis=0, ddof=1), **exact)
    np.testing.assert_allclose(first["values"]["minimum"], values.min(axis=0), **exact)
    np.testing.assert_allclose(first["values"]["maximum"], values.max(axis=0), **exact)
    np.testing.assert_allclose(first["values"]["clipped"]["0"], (frames == 0).mean(axis=0), **exact)
    np.testing.assert_allclose(first["values"]["clipped"]["255"], (frames == 255).mean(axis=0), **exact)
    for fraction, quantiles in first["values"]["quantiles"].items():
        # Within a thousandth of the rank, and a vector to either side.
        error = 0.001 + 1.5 / len(frames)
        below, up_to = (np.quantile(values, float(fraction) + e, axis=0) for e in (-error, error))
        assert (below - 1e-6 <= quantiles).all() and (quantiles <= up_to + 1e-6).all()

    covariances = np.cov(values, rowvar=False), np.cov(other_values, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)).sum()
    shift = values.mean(axis=0) - other_values.mean(axis=0)
    distance = shift @ shift + np.trace(covariances[0] + covariances[1]) - 2 * roots
    assert found["frechet_audio_distance"] == pytest.approx(distance, abs=1e-8)
    np.testing.assert_allclose(found["mean_shift"], shift / other_values.std(axis=0, ddof=1), **exact)

    assert found["frechet_audio_distance_infinity"] is None  # with too few frames
    shown = capsys.readouterr().out
    assert (
        f"- Fréchet audio distance {found['frechet_audio_distance']:.6g}; not extrapolated, which needs"
        in shown
    )
    assert "- published distances are of raw embeddings; to compare with them, give folders of" in shown
    assert "... and 108 more rows, with --output" in shown
    table = (tmp_path / "out.md").read_text()
    assert len(table.splitlines()) > 128 > len(shown.splitlines())
    assert not list(tmp_path.glob("*.probe"))


@needs_tft
@pytest.mark.parametrize("kind", ["quantized", "raw"])
def test_the_distance_is_extrapolated(tmp_path, kind, capsys):
    make = byte_clips if kind == "quantized" else raw_clips
    clips = [make(0, 60), make(1, 20)]  # with 20, no covariance is singular
    here, there = (write_features(tmp_path / str(n), some) for n, some in enumerate(clips))
    assert analyze.run([RUNNER, f"--features={here}", f"--compare={there}", f"--output={tmp_path}/out"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    infinity, whole = found["frechet_audio_distance_infinity"], found["frechet_audio_distance"]
    num_frames = sum(map(len, clips[0]))
    assert infinity["frames"][0] >= 500 and infinity["frames"][-1] == num_frames >= 1_000
    # Fewer frames, larger distance; the sample of all frames is the folder.
    assert infinity["distances"][-1] == pytest.approx(whole, rel=1e-9)
    assert infinity["distance"] < whole < infinity["distances"][0] and 0 < infinity["r2"] <= 1
    shown = capsys.readouterr().out
    assert f"{infinity['distance']:.6g} for infinitely many frames of the first (R² " in shown
    assert ("a published distance is comparable if its second corpus" in shown) == (kind == "raw")


def refused(capsys, command, *flags: str) -> str:
    name = command.__name__
    assert run_command(name, lambda: command.run([RUNNER, *flags])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix(f"{name}: error: ")


@needs_tft
@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "give either --features or --input, such as "),
        (["--features=a", "--input=b"], "give either --features or --input, such as "),
        (["--input=a", "--compare=b"], "--compare=b: it compares feature folders; give --features instead"),
        (["--features=a", "--segments=c"], "--segments: works with --input only, since feature records"),
        (["--feature=a"], "unknown option --feature (did you mean --features?); see --help"),
        (["--features=none"], "none: contains no SPLIT/PREFIX.tfrecord; give a feature folder"),
        (["--features=split"], "split: is the folder of one split; give its parent folder"),
        (["--features=empty"], "empty: none of its shards has frames; give another folder"),
        (
            ["--features=bytes", "--compare=none"],
            "none: contains no SPLIT/PREFIX.tfrecord; give a feature folder",
        ),
        (["--features=bytes", "--compare=raw"], "--compare=raw: contains raw frames, but bytes contains"),
        (
            ["--features=bytes", "--class_labels=no.csv"],
            "--class_labels=no.csv: no such file; check the path",
        ),
        (["--features=bytes", "--output=/proc/no/out"], "--output=/proc/no/out: cannot be written"),
        (["--input=no/*.wav"], "--input=no/*.wav: matches no file; give a glob"),
        (["--input=*.csv", "--split=_x"], "split '_x': a split names a folder"),
        (["--features=bytes", "--runner=NoRunner"], "--runner=NoRunner: Beam has no runner of this name"),
    ],
)
def test_mistakes_are_one_line_before_any_work(tmp_path, monkeypatch, capsys, flags, message):
    write_features(tmp_path / "bytes", byte_clips(0, 2))
    write_features(tmp_path / "raw", raw_clips(0, 2))
    write_features(tmp_path / "empty", [np.empty((0, 128), np.uint8)])
    (tmp_path / "none").mkdir()
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "ab.tfrecord").touch()
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, analyze, *flags).startswith(message)
