"""A waveform to windows of PCM, one an example, for front ends on an accelerator.

A window holds all samples that an example depends on, at the waveform's own rate where it can be: what a
device resamples need not be resampled by the CPU.
"""

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.polyphase import filter_reach, has_polyphase, row_taps
from transforms.audio.dsp.resample import RESAMPY, Resampler, resample_blocks, resampled_length
from transforms.audio.dsp.sliding import SampleCounter
from transforms.audio.dsp.waveform_examples import in_range, too_short
from transforms.vggish.params import INT16_SCALE, SAMPLE_RATE_HZ, STFT_HOP_SAMPLES, Framing

# Samples that mostly tell whether a block's are 16 bits wide.
_PROBE = 256


def window_rate_hz(rate_hz: int, framing: Framing = Framing(), resampler: Resampler = RESAMPY) -> int:
    """Sample rate of a waveform's windows.

    The waveform's own, where resampy's filter has matrices for it and the windows begin at whole samples, as
    at all usual rates with the release's hop; else 16 kHz, after resampling.
    """
    whole_hops = framing.hop_frames * STFT_HOP_SAMPLES * rate_hz % SAMPLE_RATE_HZ == 0
    return rate_hz if resampler == RESAMPY and whole_hops and has_polyphase(rate_hz) else SAMPLE_RATE_HZ


def window_samples(rate_hz: int) -> int:
    """Samples of a window at a rate that `window_rate_hz` gives: 15,600 at 16 kHz.

    At other rates it has the samples that the filter reaches on either side, and whole rows of `row_taps`.
    """
    taps = _taps(rate_hz)
    if taps is None:
        return Framing().min_samples
    reached_rows, row, outputs = taps.shape
    return (math.ceil(Framing().min_samples / outputs) + reached_rows - 1) * row


def waveform_windows(
    blocks: Iterable[NDArray[np.floating]],
    rate_hz: int,
    framing: Framing = Framing(),
    resampler: Resampler = RESAMPY,
    most: int = 16,
) -> Iterator[NDArray]:
    """Cuts a mono waveform into windows, in bounded memory.

    Args:
      blocks: the waveform, [samples] each, of any lengths, full scale 1.0; where they end makes no difference
        to a sample of the result.
      rate_hz: its sample rate.
      framing: window and hop of an example.
      resampler: as `resample_blocks` takes it.
      most: windows per array.

    Yields:
      [most, window_samples], and the last with from 1 on, at `window_rate_hz`: the samples times 32,768, as
      int16 where all are such and as float32 elsewhere, so that parts of both kinds can be put together. In
      all as many as `front_end.waveform_examples` gives examples.

    Raises:
      ClipError: as `front_end.waveform_examples`.
    """
    counted, done = SampleCounter(blocks), 0
    own_hz = window_rate_hz(rate_hz, framing, resampler)
    rows = _OverlappingRows(most, window_samples(own_hz), _hop_samples(own_hz, framing))
    reach = 0 if own_hz == SAMPLE_RATE_HZ else filter_reach(own_hz)
    waveform: Iterable[NDArray] = in_range(counted)
    if own_hz != rate_hz:
        waveform = resample_blocks(waveform, rate_hz, resampler)
    for block in itertools.chain([np.zeros(reach)], waveform):
        for full in rows.push(_pcm(block)):
            yield full
            done += most
    total = framing.num_examples(resampled_length(counted.num_samples, rate_hz))
    if not total:
        raise too_short(counted.num_samples, rate_hz, framing)
    left = total - done
    for full in rows.push(np.zeros(rows.missing(left), np.int16)):
        yield full
        left -= most
    if left > 0:
        yield rows.laid(left)


class _OverlappingRows:
    """Lays consecutive samples into rows, each a hop after the one before.

    A block is written into all rows that take some of it while it is in the cache.

    Args:
      num_rows: of an array.
      size: samples of a row.
      hop: samples from one row's start to the next one's.
    """

    def __init__(self, num_rows: int, size: int, hop: int):
        self._num_rows, self._size, self._hop = num_rows, size, hop
        self._length = (num_rows - 1) * hop + size
        self._position = 0  # of the next sample, from the first row's start on
        self._rows = self._empty(np.int16)

    def push(self, samples: NDArray) -> Iterator[NDArray]:
        """Takes int16 or float32[samples]; yields [num_rows, size] each time all rows are full."""
        while True:
            part = samples[: self._length - self._position]
            self._lay(part)
            samples = samples[len(part) :]
            if self._position < self._length:
                return
            full, overlap = self._rows, self._size - self._hop
            yield full
            self._rows, self._position = self._empty(np.int16), min(overlap, 0)
            if overlap > 0:
                self._lay(_narrow(full[-1, self._hop :]))

    def missing(self, num_rows: int) -> int:
        """Samples until so many more rows are full."""
        return max((num_rows - 1) * self._hop + self._size - self._position, 0)

    def laid(self, num_rows: int) -> NDArray:
        """The first rows, [num_rows, size], fewer than an array has."""
        return self._rows[:num_rows]

    def _empty(self, dtype: type[np.int16] | type[np.float32]) -> NDArray:
        return np.empty((self._num_rows, self._size), dtype)

    def _lay(self, samples: NDArray) -> None:
        start, stop = self._position, self._position + len(samples)
        self._position = stop
        rows = range(
            max((start - self._size) // self._hop + 1, 0), min((stop - 1) // self._hop + 1, self._num_rows)
        )
        if self._rows.dtype != samples.dtype == np.float32:
            begun = max((start - 1) // self._hop + 1, 0)
            wider = self._empty(np.float32)
            wider[:begun] = self._rows[:begun]
            self._rows = wider
        for row in rows:
            first = row * self._hop
            begin, end = max(first, start), min(first + self._size, stop)
            self._rows[row, begin - first : end - first] = samples[begin - start : end - start]


def _pcm(samples: NDArray[np.floating]) -> NDArray:
    """Samples times 32,768: int16 where they are such, and else float32."""
    return _narrow(samples * INT16_SCALE)


def _narrow(scaled: NDArray) -> NDArray:
    """int16 where all are such, and else float32."""
    for some in (scaled[:_PROBE], scaled):  # mostly the first ones tell
        with np.errstate(invalid="ignore"):  # too large for it, and so not equal
            pcm = some.astype(np.int16, copy=False)
        if not np.array_equal(pcm, some):
            return scaled.astype(np.float32, copy=False)
    return pcm


def _hop_samples(rate_hz: int, framing: Framing) -> int:
    """Samples from one window to the next, where that is a whole number."""
    return framing.hop_frames * STFT_HOP_SAMPLES * rate_hz // SAMPLE_RATE_HZ


def _taps(rate_hz: int) -> NDArray[np.float64] | None:
    return None if rate_hz == SAMPLE_RATE_HZ else row_taps(rate_hz)
