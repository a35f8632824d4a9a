import numpy as np
import pytest

from transforms.audio.dsp.log_mel import hann_window, mel_matrix
from transforms.audio.dsp.windows import window_rate_hz, window_samples
from transforms.audio.extraction import Extraction
from transforms.pcm import PcmWindows, as_examples, device_front_end, pcm_windows


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_windows_of_a_waveform_have_the_size_and_rate_of_the_front_end(rate_hz):
    windows = pcm_windows([np.zeros(2 * rate_hz)], rate_hz)
    assert len(windows) == 2 and windows.rate_hz == window_rate_hz(rate_hz)
    assert windows.samples.shape == (2, window_samples(windows.rate_hz))
    assert windows.nbytes == windows.samples.nbytes


def test_an_extraction_of_windows_gives_windows_and_any_other_the_array():
    array = np.zeros((2, 5))
    assert as_examples(array, 44_100, Extraction()) is array
    windows = as_examples(array, 44_100, Extraction(windows=True))
    assert isinstance(windows, PcmWindows)
    assert windows.samples is array and windows.rate_hz == window_rate_hz(44_100)


def test_the_front_end_resamples_only_other_rates():
    native, other = device_front_end(16_000), device_front_end(44_100)
    assert native.taps is None and other.taps is not None
    for front_end, rate_hz in ((native, 16_000), (other, 44_100)):
        assert front_end.window_samples == window_samples(rate_hz)
        np.testing.assert_array_equal(front_end.hann, hann_window())
        np.testing.assert_array_equal(front_end.mel, mel_matrix())
