import subprocess
import sys

import numpy as np
import pytest
import resampy
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import read_mono, resample

from transforms.audio.decode import open_audio
from transforms.audio.dsp.polyphase import has_polyphase, polyphase
from transforms.audio.dsp.resample import resample_blocks, resampled_length

RATES_HZ = [8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000]
# The rounding of resampy's time axis in float64, far below the 2e-6 that change no feature.
TOLERANCE = 1e-9


def impulse(num_samples: int, place: int) -> np.ndarray:
    waveform = np.zeros(num_samples)
    waveform[place] = 1.0
    return waveform


def test_a_waveform_at_16_khz_is_unchanged():
    waveform = np.random.default_rng(0).standard_normal(1_000)
    np.testing.assert_array_equal(resample(waveform, 16_000), waveform)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_equals_resampy_with_its_default_filter(rate_hz):
    num_samples = 3 * rate_hz // 2
    waveforms = {
        "noise": np.random.default_rng(rate_hz).uniform(-1, 1, num_samples),
        "tone": np.sin(2 * np.pi * 3_001 * np.arange(num_samples) / rate_hz),
        "first sample": impulse(num_samples, 0),
        "last sample": impulse(num_samples, num_samples - 1),
        "a sample": impulse(num_samples, rate_hz - 7),
    }
    assert polyphase(rate_hz) is not None and has_polyphase(rate_hz)
    for name, waveform in waveforms.items():
        expected = resampy.resample(waveform, rate_hz, 16_000, filter="kaiser_best")
        np.testing.assert_allclose(
            resample(waveform, rate_hz), expected, rtol=0, atol=TOLERANCE, err_msg=name
        )


@settings(max_examples=40, deadline=None)
@given(rate_hz=st.integers(4_000, 192_000), num_samples=st.integers(12, 6_000), data=st.data())
def test_any_rate_equals_resampy_for_any_block_boundaries(rate_hz, num_samples, data):
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, num_samples)
    whole = resample(waveform, rate_hz)
    ends = data.draw(st.lists(st.integers(0, num_samples), max_size=8).map(sorted))
    found = np.concatenate([np.empty(0), *resample_blocks(np.split(waveform, ends), rate_hz)])
    np.testing.assert_array_equal(found, whole)
    if num_samples * 16_000 // rate_hz:
        expected = resampy.resample(waveform, rate_hz, 16_000)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    else:
        assert not len(found)


ALL_RATES_HZ = np.arange(4_000, 192_001)
# Ratios with 1 to 1,280 phases, which the matrices support: an eighth of all.
RATIONAL_RATES_HZ = ALL_RATES_HZ[16_000 // np.gcd(ALL_RATES_HZ, 16_000) <= 1_280].tolist()


@settings(max_examples=30, deadline=None)
@given(rate_hz=st.sampled_from(RATIONAL_RATES_HZ), num_samples=st.integers(2_000, 40_000))
def test_rational_ratios_equal_resampy(rate_hz, num_samples):
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, num_samples)
    expected = resampy.resample(waveform, rate_hz, 16_000)
    np.testing.assert_allclose(resample(waveform, rate_hz), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("rate_hz", "why"), [(44_099, "16,000 phases"), (22_580, "its time axis slips below whole samples")]
)
def test_resampy_resamples_ratios_without_polyphase_matrices(rate_hz, why):
    waveform = np.random.default_rng(0).uniform(-1, 1, 50_000)
    assert polyphase(rate_hz) is None and not has_polyphase(rate_hz), why
    np.testing.assert_array_equal(resample(waveform, rate_hz), resampy.resample(waveform, rate_hz, 16_000))


def test_a_long_time_axis_stays_exact():
    # Two minutes at 44.1 kHz: five million samples, whose times resampy rounds.
    waveform = np.random.default_rng(0).uniform(-1, 1, 120 * 44_100)
    expected = resampy.resample(waveform, 44_100, 16_000)
    np.testing.assert_allclose(resample(waveform, 44_100), expected, rtol=0, atol=TOLERANCE)


def test_float32_blocks_are_accepted():
    waveform = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, 60_000) / 2.0**15
    found = resample(waveform.astype(np.float32), 44_100)
    np.testing.assert_array_equal(found, resample(waveform, 44_100))


def test_the_usual_rates_do_not_import_the_compiler():
    code = (
        "import sys, numpy as np; from transforms.audio.dsp.resample import resample_blocks; "
        "blocks = list(resample_blocks([np.zeros(44_100)], 44_100)); "
        "print(len(np.concatenate(blocks)), 'numba' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["16000", "False"]


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 44_099])
def test_soxr_has_the_same_length_for_any_block_boundaries(rate_hz):
    num_samples = 5 * rate_hz + 13
    tone = np.sin(2 * np.pi * 1000 * np.arange(num_samples) / rate_hz)
    whole = np.concatenate(list(resample_blocks([tone], rate_hz, "soxr")))
    parts = np.concatenate(list(resample_blocks(np.array_split(tone, 7), rate_hz, "soxr")))
    np.testing.assert_array_equal(parts, whole)
    assert len(whole) == resampled_length(num_samples, rate_hz)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(whole)) / 16_000)
    np.testing.assert_allclose(whole[500:-500], expected[500:-500], rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_keeps_a_tone(rate_hz):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    middle = slice(1_000, 15_000)  # the filter has no samples to see beyond the ends
    np.testing.assert_allclose(resample(tone, rate_hz)[middle], expected[middle], rtol=0, atol=1e-3)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_frequencies_above_8_khz_are_removed(rate_hz):
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
