"""The steps from a decoded waveform to examples, in their order."""

import numpy as np
from numpy.typing import NDArray

from transforms.audio.log_mel import log_mel_examples
from transforms.audio.resample import resample, resampled_length
from transforms.errors import ClipError, Reason
from transforms.vggish.params import SAMPLE_RATE_HZ, Framing


def waveform_examples(
    waveform: NDArray[np.float64], rate_hz: int, framing: Framing = Framing()
) -> NDArray[np.float32]:
    """Resamples a mono waveform to 16 kHz and computes its log-mel examples.

    Args:
      waveform: float64[samples], full scale 1.0.
      rate_hz: its sample rate.
      framing: window and hop of an example.

    Returns:
      float32[n, 96, 64], n from 1.

    Raises:
      ClipError: it is too short for one example, or its samples are far beyond any full scale (1e35).
    """
    if resampled_length(len(waveform), rate_hz) < framing.min_samples:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{len(waveform) / rate_hz:.3f} s of audio; "
            f"one example takes {framing.min_samples / SAMPLE_RATE_HZ} s",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        examples = log_mel_examples(resample(waveform, rate_hz), framing)
    if not np.isfinite(examples).all():
        raise ClipError(Reason.NOT_FINITE, "samples too large for float32 features")
    return examples
