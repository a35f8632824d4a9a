import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.audio.dsp.polyphase import interpolated_filter
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.dsp.windows import waveform_windows, window_rate_hz, window_samples
from transforms.audio.resamplers import SOXR
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing


def windows_of(waveform: np.ndarray, rate_hz: int, framing: Framing = Framing(), block: int = 1 << 16):
    blocks = (waveform[start : start + block] for start in range(0, len(waveform), block))
    return np.concatenate(list(waveform_windows(blocks, rate_hz, framing)))


def int16_noise(num_samples: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-32_768, 32_768, num_samples) / 32_768


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_the_device_resamples_the_usual_rates(rate_hz):
    assert window_rate_hz(rate_hz) == rate_hz


def test_other_rates_are_resampled_to_16_khz_first():
    assert window_rate_hz(12_345) == 16_000  # too many phases
    assert window_rate_hz(44_100, Framing(hop_s=0.05)) == 44_100
    assert window_rate_hz(44_100, Framing(hop_s=0.01)) == 44_100
    assert window_rate_hz(11_025, Framing(hop_s=0.01)) == 16_000  # 110.25 samples
    assert window_rate_hz(44_100, resampler=SOXR) == 16_000
    windows = windows_of(int16_noise(30_000), 12_345)
    assert windows.shape == (2, 15_600) and windows.dtype == np.float32


def test_windows_at_16_khz_hold_the_samples_of_the_examples():
    waveform = int16_noise(40_000)
    windows = windows_of(waveform, 16_000)
    assert windows.dtype == np.int16 and windows.shape == (2, 15_600)
    np.testing.assert_array_equal(windows / 32_768, [waveform[:15_600], waveform[15_360:30_960]])


@pytest.mark.parametrize("num_samples", [85_334, 88_200])  # the minimum for two windows, and two seconds
def test_windows_at_other_rates_include_the_reach_of_the_filter_and_zeros_outside(num_samples):
    waveform = int16_noise(num_samples)
    windows = windows_of(waveform, 44_100)
    reach = interpolated_filter(44_100).reach
    padded = np.concatenate([np.zeros(reach), waveform, np.zeros(44_100)])
    assert windows.shape == (2, window_samples(44_100))
    for number, window in enumerate(windows):
        start = number * 42_336
        np.testing.assert_array_equal(window / 32_768, padded[start : start + len(window)])


@pytest.mark.parametrize("scale", [1, 0.7])  # int16 and float32
@pytest.mark.parametrize("max_windows", [1, 3, 200])
@pytest.mark.parametrize("hop_s", [0.01, 0.5, 0.96, 2.0])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_windows_overlap_between_arrays_as_within_an_array(rate_hz, hop_s, max_windows, scale):
    framing = Framing(hop_s=hop_s)
    waveform = scale * int16_noise(round(3.3 * rate_hz))
    blocks = (waveform[start : start + 10_007] for start in range(0, len(waveform), 10_007))
    arrays = list(waveform_windows(blocks, rate_hz, framing, max_windows=max_windows))
    reach = 0 if rate_hz == 16_000 else interpolated_filter(rate_hz).reach
    padded = np.concatenate([np.zeros(reach), waveform, np.zeros(rate_hz)]) * 32_768
    size, hop, total = window_samples(rate_hz), round(hop_s * rate_hz), framing.num_examples(52_800)
    assert [len(array) for array in arrays] == [max_windows] * (total // max_windows) + [
        total % max_windows
    ] * (total % max_windows > 0)
    assert {array.dtype for array in arrays} == {np.dtype(np.int16 if scale == 1 else np.float32)}
    for number, window in enumerate(np.concatenate(arrays)):
        np.testing.assert_array_equal(window, padded[number * hop :][:size].astype(np.float32))


def test_float_samples_become_float32_in_units_of_int16():
    waveform = np.random.default_rng(0).uniform(-1.5, 1.5, 31_000)
    waveform[:16_000] = 0.25
    expected = [waveform[:15_600], waveform[15_360:30_960]]
    for max_windows, dtypes in ((1, [np.int16, np.float32]), (2, [np.float32])):
        blocks = (waveform[start : start + 1_000] for start in range(0, len(waveform), 1_000))
        parts = list(waveform_windows(blocks, 16_000, max_windows=max_windows))
        assert [part.dtype for part in parts] == dtypes
        np.testing.assert_allclose(np.concatenate(parts) / 32_768, expected, rtol=1e-7)


@pytest.mark.parametrize("peak", [-1.0, 1.0, 1.5, 1e5, 1e30])
def test_no_sample_wraps_around(peak):
    (window,) = windows_of(np.full(15_600, peak), 16_000)
    np.testing.assert_allclose(window.astype(np.float64), 32_768 * peak, rtol=1e-7)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("hop_s", [0.01, 0.5, 0.96, 2.0])
def test_block_ends_make_no_difference(rate_hz, hop_s):
    waveform, framing = int16_noise(4 * rate_hz + 77), Framing(hop_s=hop_s)
    whole = windows_of(waveform, rate_hz, framing, block=len(waveform))
    np.testing.assert_array_equal(windows_of(waveform, rate_hz, framing, block=4_999), whole)


@settings(max_examples=60)
@given(
    rate_hz=st.sampled_from([4_000, 11_025, 12_345, 16_000, 44_100, 48_000, 192_000]),
    duration_s=st.floats(0, 3.2),
    hop_s=st.sampled_from([0.1, 0.96, 1.7]),
)
def test_there_are_as_many_windows_as_examples_or_the_same_rejection(rate_hz, duration_s, hop_s):
    waveform, framing = np.zeros(round(duration_s * rate_hz)), Framing(hop_s=hop_s)
    try:
        examples = np.concatenate(list(waveform_examples([waveform], rate_hz, framing)))
    except ClipError as error:
        with pytest.raises(ClipError) as caught:
            windows_of(waveform, rate_hz, framing, block=10_000)
        assert (caught.value.reason, str(caught.value)) == (error.reason, str(error))
    else:
        assert len(windows_of(waveform, rate_hz, framing, block=10_000)) == len(examples)


@pytest.mark.parametrize("cut", [waveform_examples, waveform_windows])
@pytest.mark.parametrize("value", [1e34, -1e300, np.nan])
def test_samples_too_large_for_float32_features_are_rejected(cut, value):
    waveform = np.zeros(16_000)
    waveform[-1] = value  # even if no example contains it
    with pytest.raises(ClipError) as caught:
        list(cut([waveform], 16_000))
    assert caught.value.reason is Reason.NOT_FINITE
