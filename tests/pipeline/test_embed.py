"""Features in one call equal those of a run."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import noise, write_bad_files, write_noise
from trial_runs import TRIAL, read

from pipeline import run
from pipeline.embed import embed
from transforms.errors import SettingError

pytestmark = pytest.mark.usefixtures("small_batches")

RANDOM = {"weights": "random:0", "pca_params": "none"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_noise(folder / "a.wav", 3.0, 44_100)
    write_bad_files(folder)
    return folder


def test_one_call_gives_the_bytes_of_a_run(corpus, tmp_path):
    assert run.run([*TRIAL, f"--input={corpus}/a.wav", f"--output={tmp_path}/out"]) == 0
    codes = embed(corpus / "a.wav", **RANDOM)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, read(tmp_path / "out")["a"][1])
    samples, rate_hz = soundfile.read(corpus / "a.wav")
    np.testing.assert_array_equal(embed(samples, rate_hz, **RANDOM), codes)
    np.testing.assert_array_equal(embed(np.stack([samples, samples], 1), rate_hz, **RANDOM), codes)


def test_raw_embeddings_and_another_hop():
    raw = embed(noise(3.0)[:, 0], 16_000, postprocess="raw", hop_s=0.48, **RANDOM)
    assert raw.shape == (5, 128) and raw.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.wav", "no known audio format"),
        ("short.wav", "one example takes 0.975 s"),
        ("none.wav", "none.wav"),
    ],
)
def test_bad_audio_is_one_error_that_names_it(corpus, name, message):
    with pytest.raises(SettingError, match=message) as caught:
        embed(corpus / name, **RANDOM)
    assert name in str(caught.value)


def test_a_short_waveform_has_one_frame_if_it_is_padded():
    short = noise(0.5)[:, 0]
    frames = {padding: embed(short, 16_000, pad_short=padding, **RANDOM) for padding in ("zeros", "repeat")}
    assert frames["zeros"].shape == frames["repeat"].shape == (1, 128)
    np.testing.assert_array_equal(frames["repeat"], embed(np.resize(short, 15_600), 16_000, **RANDOM))
    np.testing.assert_array_equal(frames["zeros"], embed(np.append(short, np.zeros(7_600)), 16_000, **RANDOM))
    with pytest.raises(SettingError, match="pad_short='loop': give None, 'zeros' or 'repeat'"):
        embed(short, 16_000, pad_short="loop", **RANDOM)


def test_an_unknown_kind_of_output_is_refused(corpus):
    with pytest.raises(SettingError, match="give 'quantized' or 'raw'"):
        embed(corpus / "a.wav", postprocess="pca", **RANDOM)
