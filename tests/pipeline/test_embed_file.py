"""One file, embedded without a pipeline, has the frames of a run."""

import numpy as np
import pytest
import tensorflow as tf
from commands import run_command
from sounds import write_noise

from transforms.audioset.example import decode_example

pytestmark = pytest.mark.integration

NO_ASSETS = ["--weights=random:0", "--pca_params=none"]


def embed(*arguments: object, status: int = 0) -> str:
    """Output of the command, or its error stream if it fails as expected."""
    result = run_command("-m", "pipeline.embed_file", *map(str, arguments))
    assert result.returncode == status, result.stderr
    return result.stderr if status else result.stdout


def test_a_file_gives_the_frames_of_a_run(tmp_path):
    audio = write_noise(tmp_path / "clip.wav", 3.0, 44_100)
    flags = ["-m", "pipeline.run", "--runner=DirectRunner", f"--input={audio}", f"--output={tmp_path}/out"]
    assert run_command(*flags, *NO_ASSETS).returncode == 0
    for name in ("frames.npy", "clip.tfrecord"):
        embed(audio, tmp_path / name, *NO_ASSETS)
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "clip.tfrecord")).as_numpy_iterator()
    np.testing.assert_array_equal(decode_example(record, "")[1], np.load(tmp_path / "frames.npy"))
    assert (tmp_path / "clip.tfrecord").read_bytes() == (tmp_path / "out/train/cl.tfrecord").read_bytes()


def test_without_a_file_it_embeds_a_tone():
    assert "float32[5, 128]" in embed(*NO_ASSETS, "--postprocess=raw")


def test_a_bad_file_is_one_line(tmp_path):
    (tmp_path / "x.wav").write_text("no audio")
    assert "x.wav" in embed(tmp_path / "x.wav", *NO_ASSETS, status=2)
    line = embed(tmp_path / "x.wav", tmp_path / "out.csv", *NO_ASSETS, status=2)
    assert "must end with .tfrecord or .npy" in line
