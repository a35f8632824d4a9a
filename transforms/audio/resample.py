"""Any sample rate to 16 kHz, as the reference does it."""

import numpy as np
import resampy
from numpy.typing import NDArray

from transforms.vggish.params import SAMPLE_RATE_HZ


def resampled_length(num_samples: int, rate_hz: int) -> int:
    """Samples that `resample` returns for `num_samples` at `rate_hz`."""
    return num_samples * SAMPLE_RATE_HZ // rate_hz


def resample(waveform: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Resamples a mono waveform to 16 kHz with resampy's `kaiser_best`, the reference's filter.

    Args:
      waveform: float64[samples], long enough for one sample at 16 kHz.
      rate_hz: its sample rate.

    Returns:
      float64[floor(samples * 16000 / rate_hz)]; the waveform itself if it is at 16 kHz already.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        return waveform
    return resampy.resample(waveform, rate_hz, SAMPLE_RATE_HZ)
