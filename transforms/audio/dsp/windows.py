"""Cut a waveform into windows of PCM, one per example, for front ends on an accelerator.

A window holds all samples on which an example depends. It has the waveform's own rate if possible, so that
the device resamples instead of the CPU.
"""

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.polyphase import filter_reach, has_polyphase, row_taps
from transforms.audio.dsp.resample import resample_blocks, resampled_length
from transforms.audio.dsp.waveform_examples import CheckedWaveform, too_short_error
from transforms.audio.resamplers import RESAMPY, Resampler
from transforms.vggish.params import INT16_SCALE, SAMPLE_RATE_HZ, STFT_HOP_SAMPLES, Framing

# The first samples usually show whether a block is 16 bits wide.
_PROBE = 256


def window_rate_hz(rate_hz: int, framing: Framing = Framing(), resampler: Resampler = RESAMPY) -> int:
    """Return the sample rate of a waveform's windows.

    It is the waveform's own rate if resampy's filter has matrices for it and the windows begin at whole
    samples, which holds for all usual rates with the release's hop. Otherwise it is 16 kHz, after resampling.
    """
    whole_hops = framing.hop_frames * STFT_HOP_SAMPLES * rate_hz % SAMPLE_RATE_HZ == 0
    return rate_hz if resampler == RESAMPY and whole_hops and has_polyphase(rate_hz) else SAMPLE_RATE_HZ


def window_samples(rate_hz: int) -> int:
    """Return the samples per window at a rate from `window_rate_hz`: 15,600 at 16 kHz.

    At other rates, a window also has the samples that the filter reaches on both sides, in whole rows of
    `row_taps`.
    """
    taps = row_taps(rate_hz)
    if taps is None:
        return Framing().min_samples
    reached_rows, row, outputs = taps.shape
    return (math.ceil(Framing().min_samples / outputs) + reached_rows - 1) * row


def waveform_windows(
    blocks: Iterable[NDArray[np.floating]],
    rate_hz: int,
    framing: Framing = Framing(),
    resampler: Resampler = RESAMPY,
    max_windows: int = 16,
) -> Iterator[NDArray]:
    """Cut a mono waveform into windows, in bounded memory.

    Args:
      blocks, rate_hz, framing, resampler: as for `waveform_examples`.
      max_windows: windows per array.

    Yields:
      [max_windows, window_samples] at `window_rate_hz`, with 1 or more windows in the last array: samples
      times 32,768, as int16 if all of an array are exact in it, else as float32, so that arrays of both types
      can be concatenated. There are as many windows as `waveform_examples` yields examples.

    Raises:
      ClipError: as for `waveform_examples`.
    """
    waveform, done = CheckedWaveform(blocks), 0
    windows_hz = window_rate_hz(rate_hz, framing, resampler)
    hop_samples = framing.hop_frames * STFT_HOP_SAMPLES * windows_hz // SAMPLE_RATE_HZ  # a whole number
    rows = _OverlappingRows(max_windows, window_samples(windows_hz), hop_samples)
    reach = 0 if windows_hz == SAMPLE_RATE_HZ else filter_reach(windows_hz)
    at_windows_hz = waveform if windows_hz == rate_hz else resample_blocks(waveform, rate_hz, resampler)
    for block in itertools.chain([np.zeros(reach)], at_windows_hz):
        for full in rows.push(_narrow(block * INT16_SCALE)):
            yield full
            done += max_windows
    total = framing.num_examples(resampled_length(waveform.num_samples, rate_hz))
    if not total:
        raise too_short_error(waveform.num_samples, rate_hz, framing)
    left = total - done
    for full in rows.push(np.zeros(rows.missing(left), np.int16)):
        yield full
        left -= max_windows
    if left > 0:
        yield rows.first_rows(left)


class _OverlappingRows:
    """Copies consecutive samples into overlapping rows that begin a hop apart.

    A block is written into all rows that need it while it is in the cache.

    Args:
      num_rows: of an array.
      size: samples per row.
      hop: samples from one row's start to the next one's.
    """

    def __init__(self, num_rows: int, size: int, hop: int):
        self._num_rows, self._size, self._hop = num_rows, size, hop
        self._length = (num_rows - 1) * hop + size
        self._position = 0  # of the next sample, relative to the start of the first row
        self._rows = self._empty(np.int16)

    def push(self, samples: NDArray) -> Iterator[NDArray]:
        """Take int16 or float32[samples]; yield [num_rows, size] each time all rows are full."""
        while True:
            part = samples[: self._length - self._position]
            self._write(part)
            samples = samples[len(part) :]
            if self._position < self._length:
                return
            full, overlap = self._rows, self._size - self._hop
            yield full
            self._rows, self._position = self._empty(np.int16), min(overlap, 0)
            if overlap > 0:
                self._write(_narrow(full[-1, self._hop :]))

    def missing(self, num_rows: int) -> int:
        """Return the number of samples that fill `num_rows` rows."""
        return max((num_rows - 1) * self._hop + self._size - self._position, 0)

    def first_rows(self, num_rows: int) -> NDArray:
        """Return the first rows, [num_rows, size], of an incomplete array."""
        return self._rows[:num_rows]

    def _empty(self, dtype: type[np.int16] | type[np.float32]) -> NDArray:
        return np.empty((self._num_rows, self._size), dtype)

    def _write(self, samples: NDArray) -> None:
        start, stop = self._position, self._position + len(samples)
        self._position = stop
        if self._rows.dtype != samples.dtype == np.float32:
            begun = max((start - 1) // self._hop + 1, 0)
            wider = self._empty(np.float32)
            wider[:begun] = self._rows[:begun]
            self._rows = wider
        first_row = max((start - self._size) // self._hop + 1, 0)
        for row in range(first_row, min((stop - 1) // self._hop + 1, self._num_rows)):
            first = row * self._hop
            begin, end = max(first, start), min(first + self._size, stop)
            self._rows[row, begin - first : end - first] = samples[begin - start : end - start]


def _narrow(scaled: NDArray) -> NDArray:
    """Convert to int16 if that is exact for all samples, else to float32."""
    for some in (scaled[:_PROBE], scaled):  # mostly the first ones decide
        with np.errstate(invalid="ignore"):  # samples that are out of range become unequal
            pcm = some.astype(np.int16, copy=False)
        if not np.array_equal(pcm, some):
            return scaled.astype(np.float32, copy=False)
    return pcm
