import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import resample

from transforms.audio.dsp import waveform_examples as examples
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing


def waveform_examples(waveform: np.ndarray, rate_hz: int, framing: Framing = Framing()) -> np.ndarray:
    return np.concatenate(list(examples.waveform_examples([waveform], rate_hz, framing)))


def test_resamples_and_then_computes_examples():
    waveform = np.random.default_rng(0).uniform(-1, 1, 100_000)
    expected = log_mel_examples(resample(waveform, 44_100))
    np.testing.assert_array_equal(waveform_examples(waveform, 44_100), expected)
    assert len(expected) == 2


@settings(max_examples=30)
@given(rate_hz=st.sampled_from([4_000, 11_025, 16_000, 44_100, 192_000]), duration_s=st.floats(0, 1.2))
def test_waveform_gives_examples_or_is_too_short(rate_hz, duration_s):
    waveform = np.zeros(round(duration_s * rate_hz))
    if len(waveform) * 16_000 // rate_hz >= 15_600:
        assert waveform_examples(waveform, rate_hz).shape == (1, 96, 64)
    else:
        with pytest.raises(ClipError) as caught:
            waveform_examples(waveform, rate_hz)
        assert caught.value.reason is Reason.TOO_SHORT
        length_s = len(waveform) / rate_hz
        assert str(caught.value) == f"{length_s:.3f} s of audio; one example takes 0.975 s"


def test_framing_is_used():
    assert len(waveform_examples(np.zeros(32_000), 16_000, Framing(hop_s=0.1))) == 11


def test_large_float_samples_give_features():
    noise = np.random.default_rng(0).uniform(-1, 1, 16_000)
    np.testing.assert_allclose(
        waveform_examples(1e30 * noise, 16_000), waveform_examples(noise, 16_000) + np.log(1e30), atol=0.1
    )


def test_samples_too_large_for_float32_features_are_rejected():
    with pytest.raises(ClipError) as caught:
        waveform_examples(1e38 * np.random.default_rng(0).uniform(-1, 1, 16_000), 16_000)
    assert caught.value.reason is Reason.NOT_FINITE
