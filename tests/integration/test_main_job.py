"""Commands as a user types them, each in a separate process."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from commands import ROOT, run_command, run_python
from sounds import write_bad_files, write_noise

from transforms.audioset.example import decode_example

pytestmark = pytest.mark.integration

TRIAL = ["--weights=random:0", "--pca_params=none", "--max_reject_fraction=1"]
# All modes of a run that must not change a byte.
VARIANTS = {
    "two_processes": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "two_threads": ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    "portable": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
    "batches_of_16": ["--batch_size=16"],
    "batches_of_64": ["--batch_size=64"],
}


def run_pipeline(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    return run_command("-m", "pipeline.run", "--runner=DirectRunner", *flags, **environment)


def shards(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*.tfrecord"))}


def write_corpus(folder: Path) -> list[Path]:
    return [
        write_noise(folder / f"{prefix}{n}.{suffix}", 1.0 + n, rate_hz, seed=n)
        for n, (prefix, suffix, rate_hz) in enumerate(
            [("a", "wav", 44_100), ("a", "flac", 48_000), ("b", "ogg", 22_050), ("c", "mp3", 44_100)] * 3
        )
    ]


def check_variants(output: Path, inputs: list[Path], flags: list[str], capture: Path) -> None:
    expected = shards(output)
    assert expected
    runs = {name: [f"--input={path}" for path in inputs] + extra for name, extra in VARIANTS.items()}
    shuffled = random.Random(1).sample(inputs, len(inputs))
    runs["inputs_shuffled"] = [f"--input={path}" for path in shuffled]
    runs["all_cores"] = runs["inputs_shuffled"]
    for name, own in runs.items():
        environment = {"TF_NUM_INTRAOP_THREADS": "0"} if name == "all_cores" else {}
        result = run_pipeline(*flags, *own, f"--output={capture / name}", **environment)
        assert result.returncode == 0, result.stderr
        assert shards(capture / name) == expected, name
        assert "WARNING" not in result.stderr, result.stderr


def test_no_way_to_run_changes_a_byte(tmp_path):
    inputs = write_corpus(tmp_path / "audio")
    result = run_pipeline(f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out", *TRIAL)
    assert result.returncode == 0, result.stderr
    assert "clips expected 12 = written 12 + rejected 0 + existing 0" in result.stdout
    check_variants(tmp_path / "out", inputs, TRIAL, tmp_path / "variants")


@pytest.fixture(scope="module")
def seeded(shared, tmp_path_factory) -> dict[str, list[str]]:
    """Returns flags for the golden features' weights, as V1 and V2 checkpoints, and the released PCA."""
    folder = tmp_path_factory.mktemp("seeded")
    pca = f"--pca_params={shared}/data/vggish_pca_params.npz"
    for version in ("v1", "v2"):
        script = str(shared / "tools" / "seeded_checkpoint.py")
        result = run_command(script, str(folder / f"{version}.ckpt"), f"--format={version}")
        assert result.returncode == 0, result.stderr
    return {version: [f"--weights={folder}/{version}.ckpt", pca] for version in ("v1", "v2")}


def test_real_recordings_give_the_bytes_of_the_reference(shared, seeded, tmp_path):
    inputs = sorted((shared / "data" / "audio").glob("*.wav"))
    result = run_pipeline(f"--input={shared}/data/audio/*.wav", f"--output={tmp_path}/out", *seeded["v1"])
    assert result.returncode == 0, result.stderr
    golden = np.load(shared / "golden" / "real_audio.npz")
    num_frames, equal, total = {}, 0, 0
    for path in (tmp_path / "out").glob("train/*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            segment, codes = decode_example(record, "train")
            expected = golden[f"quantized/{segment.video_id}.wav"]
            num_frames[segment.video_id] = len(codes)
            assert np.abs(codes.astype(int) - expected).max() <= 1
            equal, total = equal + int((codes == expected).sum()), total + codes.size
    assert num_frames == {"car-horn": 4, "crowd_cheering": 13, "jazz_guitar": 11, "train": 18, "typing": 12}
    assert equal / total >= 0.999
    check_variants(tmp_path / "out", inputs, seeded["v2"], tmp_path / "variants")


def test_bad_files_are_rejected_and_the_rest_written(tmp_path):
    reasons = write_bad_files(tmp_path / "audio")
    write_noise(tmp_path / "audio" / "good.wav", 2.0)
    result = run_pipeline(f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out", *TRIAL[:2])
    assert result.returncode == 4, result.stderr  # five of six rejected: more than the default allows
    assert "clips expected 6 = written 1 + rejected 5" in result.stdout
    lines = (tmp_path / "out" / "_run" / "rejected-00000-of-00001.jsonl").read_text().splitlines()
    assert {line["id"]: line["reason"] for line in map(json.loads, lines)} == reasons
    verified = run_command("-m", "pipeline.verify", str(tmp_path / "out"), "--strict")
    assert verified.returncode == 0 and "is good" in verified.stdout


def test_a_mistake_is_one_line_and_exit_2(tmp_path):
    audio = write_noise(tmp_path / "a.wav", 1.0)
    (tmp_path / "file").touch()
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    (tmp_path / "bad.yaml").write_text("inptu: x\n")
    np.savez(tmp_path / "pca.npz", pca_eigen_vectors=np.eye(64), pca_means=np.zeros((64, 1)))
    good = [f"--input={audio}", f"--output={tmp_path}/out", *TRIAL]
    for flag in (
        f"--input={tmp_path}/none*.wav",
        f"--output={tmp_path}/file/out",
        f"--config={tmp_path}/bad.yaml",
        f"--pca_params={tmp_path}/pca.npz",
        f"--weights={tmp_path}/text.ckpt",
    ):
        result = run_python("-m", "pipeline.run", "--runner=DirectRunner", *good, flag)
        assert result.returncode == 2, flag
        assert result.stdout == "" and len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith("pipeline.run: error: ")


def test_weights_that_cannot_be_had_stop_the_run_with_the_ways_out(tmp_path):
    """Runs with an empty cache and a proxy that refuses connections, as on a machine without a network."""
    audio = write_noise(tmp_path / "a.wav", 1.0)
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    flags = [f"--input={audio}", f"--output={tmp_path}/out", "--pca_params=none"]
    result = run_pipeline(*flags, XDG_CACHE_HOME=str(tmp_path / "cache"), VGGISH_ASSETS_DIR="", **proxy)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    for part in ("vggish_model.ckpt", "--assets_dir=", "--weights=PATH", "--weights=random:0"):
        assert part in result.stderr


def test_smoke_test_looks_good():
    result = run_command("-m", "pipeline.smoke_test", *TRIAL[:2])
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "Looks Good To Me"
    assert "not checked" in result.stdout


def test_the_package_that_workers_install_has_every_module(tmp_path):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.splitlines():
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(tmp_path / "dist")],
        cwd=tmp_path / "source",
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    listed = subprocess.run(["tar", "tzf", str(archive)], capture_output=True, text=True, check=True)
    packed = {line.split("/", 1)[1] for line in listed.stdout.splitlines()}
    modules = {
        name
        for name in tracked.stdout.splitlines()
        if name.startswith(("pipeline/", "transforms/")) and name.endswith((".py", ".html", ".typed"))
    }
    assert modules and modules <= packed
