import numpy as np
import pytest
import resampy
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import read_mono, resample

from transforms.audio.decode import open_audio
from transforms.audio.resample import resample_blocks, resampled_length

RATES_HZ = [8_000, 11_025, 22_050, 44_100, 48_000, 96_000]


def test_waveform_at_16_khz_is_left_alone():
    waveform = np.random.default_rng(0).standard_normal(1_000)
    np.testing.assert_array_equal(resample(waveform, 16_000), waveform)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_equals_resampy_with_its_default_filter(rate_hz):
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, rate_hz // 2)
    expected = resampy.resample(waveform, rate_hz, 16_000, filter="kaiser_best")
    np.testing.assert_array_equal(resample(waveform, rate_hz), expected)


@settings(max_examples=60)
@given(rate_hz=st.integers(4_000, 192_000), num_samples=st.integers(12, 6_000), data=st.data())
def test_blocks_of_any_lengths_give_the_bits_of_the_whole(rate_hz, num_samples, data):
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, num_samples)
    ends = data.draw(st.lists(st.integers(0, num_samples), max_size=8).map(sorted))
    blocks = np.split(waveform, ends)
    found = np.concatenate([np.empty(0), *resample_blocks(blocks, rate_hz)])
    if num_samples * 16_000 // rate_hz:
        np.testing.assert_array_equal(found, resampy.resample(waveform, rate_hz, 16_000))
    else:
        assert not len(found)


def test_a_long_time_axis_keeps_the_bits():
    # Ten minutes at 44.1 kHz: large enough for a rounding of the time axis to show.
    waveform = np.random.default_rng(0).uniform(-1, 1, 600 * 44_100)
    np.testing.assert_array_equal(resample(waveform, 44_100), resampy.resample(waveform, 44_100, 16_000))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_keeps_a_tone(rate_hz):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    middle = slice(1_000, 15_000)  # the filter has no samples to see beyond the ends
    np.testing.assert_allclose(resample(tone, rate_hz)[middle], expected[middle], rtol=0, atol=1e-3)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_removes_what_16_khz_cannot_hold(rate_hz):
    tone = np.sin(2 * np.pi * 12_000 * np.arange(rate_hz) / rate_hz)
    assert np.abs(resample(tone, rate_hz)[1_000:15_000]).max() < 1e-3


@settings(max_examples=80)
@given(rate_hz=st.integers(4_000, 192_000), num_samples=st.integers(12, 3_000))
def test_resampled_length_is_the_length_of_the_result(rate_hz, num_samples):
    length = len(resample(np.zeros(num_samples), rate_hz))
    assert length == resampled_length(num_samples, rate_hz)
    assert length == num_samples * 16_000 // rate_hz


def test_recording_gives_the_golden_waveform(shared):
    with open(shared / "data" / "audio" / "car-horn.wav", "rb") as file, open_audio(file) as sound:
        waveform = resample(read_mono(sound), sound.rate_hz)
    with np.load(shared / "golden" / "real_audio.npz") as golden:
        np.testing.assert_allclose(waveform, golden["resampled/car-horn.wav"], rtol=0, atol=1e-9)
