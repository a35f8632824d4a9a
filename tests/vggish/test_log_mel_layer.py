import numpy as np
import pytest
from sounds import tones

from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.pcm import PcmWindows, device_front_end, pcm_windows
from transforms.vggish.log_mel_layer import LogMel


def windows_of(waveform: np.ndarray, rate_hz: int) -> PcmWindows:
    return pcm_windows([waveform], rate_hz)


def examples_of(waveform: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.concatenate(list(waveform_examples([waveform], rate_hz)))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 12_345])
def test_the_front_end_equals_that_of_the_cpu_up_to_float32(rate_hz):
    waveform = tones(3.0, rate_hz)
    windows = windows_of(waveform, rate_hz)
    log_mel = np.asarray(LogMel(device_front_end(windows.rate_hz))(windows.samples))
    assert log_mel.dtype == np.float32
    # Bands above half the waveform's rate contain only the rounding errors of the others.
    np.testing.assert_allclose(log_mel, examples_of(waveform, rate_hz), rtol=0, atol=1e-3)


@pytest.mark.parametrize("factor", [1.5, 1e3, 1e30])
def test_samples_beyond_full_scale_give_the_same_result_as_on_the_cpu(factor):
    waveform = factor * tones(1.0, 16_000)
    log_mel = np.asarray(LogMel(device_front_end(16_000))(windows_of(waveform, 16_000).samples))
    np.testing.assert_allclose(log_mel, examples_of(waveform, 16_000), rtol=1e-4, atol=1e-3)
