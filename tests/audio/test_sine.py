import numpy as np

from transforms.audio.sine import sine


def test_a_sine_has_its_length_frequency_and_amplitude():
    samples = sine(duration_s=2.0, frequency_hz=440.0)
    assert samples.shape == (32_000,) and samples.dtype == np.float64
    assert np.abs(np.fft.rfft(samples)).argmax() == 2 * 440
    assert np.isclose(samples.max(), 1.0, atol=1e-3)
