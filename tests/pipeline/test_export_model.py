"""A SavedModel equals the CPU path, and needs only TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from pipeline import export_model
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.errors import SettingError
from transforms.vggish.postprocess import postprocess

# More examples than are embedded together, and an incomplete one.
NUM_EXAMPLES = 35
READ_ELSEWHERE = """
import sys
import numpy as np
import tensorflow as tf

model, waveform, embeddings = sys.argv[1:]
embed = tf.saved_model.load(model).signatures["serving_default"]
samples = np.load(waveform)
np.save(embeddings, embed(waveform=samples)["embeddings"])
assert embed(waveform=samples[:15_599])["embeddings"].shape == (0, 128)
assert embed(waveform=samples[:0])["embeddings"].shape == (0, 128)
assert embed(waveform=samples[:15_600])["embeddings"].shape == (1, 128)
assert not {"transforms", "pipeline", "apache_beam"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def waveform():
    rng = np.random.default_rng(0)
    times_s = np.arange(15_360 * NUM_EXAMPLES + 3_000) / 16_000
    return (0.2 * np.sin(3_000 * times_s**1.3) + 0.01 * rng.standard_normal(len(times_s))).astype(np.float32)


@pytest.mark.parametrize("kind", ["quantized", pytest.param("raw", marks=pytest.mark.integration)])
def test_a_saved_model_equals_the_cpu_path(kind, waveform, embedder, tmp_path):
    flags = ["--weights=random:0", "--pca_params=none", f"--postprocess={kind}"]
    assert export_model.run([*flags, f"--output={tmp_path / 'model'}"]) == 0
    np.save(tmp_path / "waveform.npy", waveform)
    files = ["model", "waveform.npy", "embeddings.npy"]
    subprocess.run([sys.executable, "-c", READ_ELSEWHERE, *files], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "embeddings.npy")
    expected = embedder.embed(log_mel_examples(waveform.astype(np.float64)))
    assert len(expected) == NUM_EXAMPLES
    if kind == "raw":
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    else:
        assert found.dtype == np.uint8
        codes = postprocess(expected, None)
        assert np.abs(found.astype(int) - codes).max() <= 1
        assert (found == codes).mean() >= 0.999


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(SettingError, match=r"is not empty, it contains saved_model\.pb"):
        export_model.run(["--weights=random:0", "--pca_params=none", f"--output={tmp_path}"])


def test_what_a_killed_command_left_is_deleted_and_nothing_else(tmp_path):
    for name in (".incomplete", "variables/variables.index", "saved_model.pb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    mine = tmp_path / "mine.txt"
    mine.touch()
    with pytest.raises(SettingError, match=r"is not empty, it contains mine\.txt"):
        export_model.run(["--weights=random:0", "--pca_params=none", f"--output={tmp_path}"])
    assert list(tmp_path.iterdir()) == [mine]
    mine.unlink()
    assert export_model.run(["--weights=random:0", "--pca_params=none", f"--output={tmp_path}"]) == 0
    assert (tmp_path / "saved_model.pb").stat().st_size > 1000
    assert not (tmp_path / ".incomplete").exists()


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="cannot be written"):
        export_model.run(["--weights=random:0", "--pca_params=none", f"--output={tmp_path}/file/model"])
