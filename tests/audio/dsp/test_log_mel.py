import math

import make_features
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import read_mono, resample

from transforms.audio.decode import open_audio
from transforms.audio.dsp.log_mel import (
    example_blocks,
    hann_window,
    log_mel_blocks,
    log_mel_examples,
    mel_matrix,
)
from transforms.vggish.params import Framing


def log_mel(waveform) -> np.ndarray:
    return np.concatenate([np.empty((0, 64), np.float32), *log_mel_blocks([waveform])])


# Every implementation must agree with the reference within this.
TOLERANCE = 2e-5
RECORDINGS = ["car-horn.wav", "crowd_cheering.wav", "jazz_guitar.wav", "train.wav", "typing.wav"]


def synthetic_waveforms() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    t = np.arange(160_000) / 16_000
    return {
        "sine_1khz_3s": np.sin(2 * np.pi * 1000 * t[:48_000]),
        "chirp_noise_10s": 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t)
        + 0.05 * rng.standard_normal(160_000),
        "silence_2s": np.zeros(32_000),
        "full_scale_noise_2s": np.clip(rng.standard_normal(32_000), -1, 1),
        "quiet_noise_2s": 1e-5 * rng.standard_normal(32_000),
        "one_example_15600": 0.1 * rng.standard_normal(15_600),
        "no_example_15599": 0.1 * rng.standard_normal(15_599),
    }


WAVEFORMS = synthetic_waveforms()
NUM_EXAMPLES = {
    "sine_1khz_3s": 3,
    "chirp_noise_10s": 10,
    "silence_2s": 2,
    "full_scale_noise_2s": 2,
    "quiet_noise_2s": 2,
    "one_example_15600": 1,
    "no_example_15599": 0,
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_examples_equal_the_reference_implementation(golden, name):
    with np.load(golden / "log_mel.npz") as file:
        expected = file[name]
    examples = log_mel_examples(WAVEFORMS[name])
    assert examples.shape == (NUM_EXAMPLES[name], 96, 64)
    kept = examples[::4] if name == "chirp_noise_10s" else examples
    np.testing.assert_allclose(kept, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_examples_equal_all_synthetic_goldens(shared, name):
    with np.load(shared / "golden" / "synthetic_log_mel.npz") as file:
        waveform, expected = file[f"waveform/{name}"], file[f"examples/{name}"]
    np.testing.assert_allclose(WAVEFORMS[name], waveform, rtol=0, atol=1e-10)
    examples = log_mel_examples(waveform)
    assert examples.shape == expected.shape
    np.testing.assert_allclose(examples, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_give_the_goldens(shared, name):
    with open(shared / "data" / "audio" / name, "rb") as file, open_audio(file) as sound:
        examples = log_mel_examples(resample(read_mono(sound), sound.rate_hz))
    with np.load(shared / "golden" / "real_audio.npz") as file:
        expected = file[f"examples/{name}"]
    assert examples.shape == expected.shape
    np.testing.assert_allclose(examples, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", WAVEFORMS)
def test_spectrogram_equals_the_definition(name):
    waveform = WAVEFORMS[name][:48_000]
    expected = make_features.log_mel(waveform)
    spectrogram = log_mel(waveform)
    assert spectrogram.dtype == np.float32
    assert spectrogram.shape == expected.shape
    np.testing.assert_allclose(spectrogram, expected, rtol=0, atol=1e-6)


def test_spectrogram_of_a_long_waveform_equals_the_definition_everywhere():
    waveform = 0.1 * np.random.default_rng(1).standard_normal(400_000)  # 2,498 frames, three blocks
    spectrogram = log_mel(waveform)
    np.testing.assert_allclose(spectrogram, make_features.log_mel(waveform), rtol=0, atol=1e-6)


def test_a_float32_waveform_gives_the_same_features():
    waveform = WAVEFORMS["full_scale_noise_2s"].astype(np.float32)
    expected = log_mel(waveform.astype(np.float64))
    np.testing.assert_array_equal(log_mel(waveform), expected)


@pytest.mark.parametrize(("num_samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_spectrogram_has_a_frame_each_160_samples_from_400_on(num_samples, frames):
    assert log_mel(np.zeros(num_samples)).shape == (frames, 64)


@pytest.mark.parametrize(
    ("num_samples", "examples"), [(0, 0), (15_599, 0), (15_600, 1), (30_959, 1), (30_960, 2), (160_000, 10)]
)
def test_incomplete_example_is_dropped(num_samples, examples):
    assert log_mel_examples(np.zeros(num_samples)).shape == (examples, 96, 64)


def test_examples_are_the_spectrogram_cut_every_96_frames():
    waveform = WAVEFORMS["chirp_noise_10s"]
    examples = log_mel_examples(waveform)
    np.testing.assert_array_equal(examples.reshape(960, 64), log_mel(waveform)[:960])


def test_overlapping_examples_repeat_the_frames_they_share():
    waveform = WAVEFORMS["full_scale_noise_2s"]
    examples = log_mel_examples(waveform, Framing(hop_s=0.24))
    spectrogram = log_mel(waveform)
    assert len(examples) == 5
    for index, example in enumerate(examples):
        np.testing.assert_array_equal(example, spectrogram[24 * index : 24 * index + 96])


def test_examples_are_contiguous():
    assert log_mel_examples(WAVEFORMS["sine_1khz_3s"]).flags.c_contiguous


@settings(max_examples=60)
@given(
    num_samples=st.integers(0, 50_000),
    window_frames=st.integers(1, 120),
    hop_frames=st.integers(1, 150),
)
def test_framing_counts_the_examples_that_are_computed(num_samples, window_frames, hop_frames):
    framing = Framing(window_frames / 100, hop_frames / 100)
    examples = log_mel_examples(np.zeros(num_samples), framing)
    assert examples.shape == (framing.num_examples(num_samples), window_frames, 64)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(0, 20), tail=st.integers(0, 159))
def test_frames_depend_on_their_own_samples_only(seed, frames, tail):
    waveform = np.random.default_rng(seed).uniform(-1, 1, 8_000)
    whole = log_mel(waveform)
    part = log_mel(waveform[160 * frames : len(waveform) - tail])
    np.testing.assert_allclose(part, whole[frames : frames + len(part)], rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), gain=st.floats(1e-6, 1.0))
def test_no_band_of_a_louder_waveform_is_lower_and_silence_is_the_minimum(seed, gain):
    waveform = np.random.default_rng(seed).uniform(-1, 1, 4_000)
    loud, quiet = log_mel(waveform), log_mel(gain * waveform)
    assert (quiet <= loud + 1e-6).all()
    assert (quiet >= np.float32(math.log(0.01))).all()


def test_mel_weights_equal_triangles_linear_in_mel():
    weights = mel_matrix()
    assert weights.shape == (257, 64)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, make_features.mel_weights(), rtol=0, atol=1e-6)


def test_dc_bin_has_no_mel_weight():
    assert not mel_matrix()[0].any()


def test_every_mel_band_has_weight():
    assert (mel_matrix().max(axis=0) > 0.1).all()


def test_mel_weights_end_at_125_and_7500_hz():
    used = np.flatnonzero(mel_matrix().any(axis=1)) * 16_000 / 512
    assert used.min() > 125 - 1e-9
    assert used.max() < 7_500


def test_hann_window_is_periodic():
    window = hann_window()
    assert window.shape == (400,)
    assert window[0] == 0
    assert window[200] == 1
    np.testing.assert_allclose(window[1:], window[:0:-1], rtol=0, atol=1e-15)


@settings(max_examples=30)
@given(
    num_samples=st.integers(0, 400_000),
    ends=st.lists(st.integers(0, 400_000), max_size=6).map(sorted),
    hop_s=st.sampled_from([0.96, 0.1, 0.5, 2.0, 13.0]),
)
def test_block_boundaries_do_not_change_the_bits(num_samples, ends, hop_s):
    waveform = np.random.default_rng(num_samples).uniform(-1, 1, num_samples)
    framing = Framing(hop_s=hop_s)
    frames = list(log_mel_blocks(np.split(waveform, ends)))
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 64)), *frames]), log_mel(waveform))
    whole = log_mel_examples(waveform, framing)
    assert len(whole) == framing.num_examples(num_samples)
    parts = np.concatenate([whole[:0], *example_blocks(frames, framing)])
    np.testing.assert_array_equal(parts, whole)
