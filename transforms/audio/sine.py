"""A sine, for a check without audio files."""

import numpy as np
from numpy.typing import NDArray

from transforms.vggish.params import SAMPLE_RATE_HZ


def sine(duration_s: float = 3.0, frequency_hz: float = 1_000.0) -> NDArray[np.float64]:
    """Return a sine of amplitude 1 at 16 kHz, float64[samples]."""
    times_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.sin(2 * np.pi * frequency_hz * times_s)
