"""Any sample rate to 16 kHz, as the reference does it, in blocks of any size."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from resampy.filters import get_filter
from resampy.interpn import resample_f_s

from transforms.vggish.params import SAMPLE_RATE_HZ

FILTER = "kaiser_best"


def resampled_length(num_samples: int, rate_hz: int) -> int:
    """Samples at 16 kHz that `num_samples` at `rate_hz` give."""
    return num_samples * SAMPLE_RATE_HZ // rate_hz


@dataclass(frozen=True, eq=False)
class _Filter:
    """resampy's interpolated filter for one rate, as `resampy.resample` prepares it.

    Attributes:
      window, delta: float64[taps], the right wing and its differences.
      precision: filter samples between zero crossings.
      scale: the rates' ratio, at most 1.
      time_increment: input samples from one output sample to the next.
      reach: input samples on either side that an output sample can depend on.
    """

    window: NDArray[np.float64]
    delta: NDArray[np.float64]
    precision: int
    scale: float
    time_increment: float
    reach: int


@functools.cache
def _filter(rate_hz: int) -> _Filter:
    ratio = float(SAMPLE_RATE_HZ) / rate_hz
    window, precision, _ = get_filter(FILTER)
    if ratio < 1:
        window = ratio * window
    scale = min(1.0, ratio)
    reach = len(window) // int(scale * precision) + 1
    return _Filter(window, np.diff(window, append=window[-1]), precision, scale, 1.0 / ratio, reach)


def resample_blocks(blocks: Iterable[NDArray[np.float64]], rate_hz: int) -> Iterator[NDArray[np.float64]]:
    """Resamples a mono waveform to 16 kHz with resampy's `kaiser_best`, the reference's filter.

    The bits are those of `resampy.resample` on the whole waveform, wherever the blocks end: resampy's
    own loop runs over each stretch with all samples that its filter reaches, and only whole numbers
    are taken off the time axis, which is exact.

    Args:
      blocks: the waveform, float64[samples] each, of any lengths.
      rate_hz: its sample rate.

    Yields:
      float64[samples] at 16 kHz; in all floor(samples * 16000 / rate_hz).
    """
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
        return
    taps = _filter(rate_hz)
    kept = np.empty(0)  # input from sample `first` on
    first, done = 0, 0  # input samples dropped, output samples made
    for block in blocks:
        kept = np.concatenate([kept, block])
        # Up to here an output sample has all the input to its right that it reaches.
        ready = int((first + len(kept) - taps.reach - 1) / taps.time_increment)
        if ready > done:
            yield _stretch(kept, first, done, ready, taps)
            done = ready
            drop = max(int(done * taps.time_increment) - taps.reach - 1 - first, 0)
            kept, first = kept[drop:], first + drop
    total = resampled_length(first + len(kept), rate_hz)
    if total > done:
        yield _stretch(kept, first, done, total, taps)


def _stretch(
    kept: NDArray[np.float64], first: int, start: int, stop: int, taps: _Filter
) -> NDArray[np.float64]:
    times = np.arange(start, stop) * taps.time_increment - first
    output = np.zeros(stop - start)
    resample_f_s(kept, times, taps.window, taps.delta, taps.precision, taps.scale, output)
    return output
