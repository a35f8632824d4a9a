"""Any sample rate to 16 kHz, as the reference does it, in blocks of any size."""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.polyphase import Polyphase, interpolated_filter, polyphase
from transforms.audio.dsp.sliding import SlidingWindow
from transforms.vggish.params import SAMPLE_RATE_HZ

Resampler = Literal["resampy", "soxr"]
RESAMPY: Final = "resampy"
SOXR: Final = "soxr"

# soxr's bits follow the lengths that it is fed with.
_SOXR_BLOCK = 1 << 16

Blocks = Iterable[NDArray[np.floating]]


def resampled_length(num_samples: int, rate_hz: int) -> int:
    """Samples at 16 kHz that `num_samples` at `rate_hz` give."""
    return num_samples * SAMPLE_RATE_HZ // rate_hz


def resample_blocks(
    blocks: Blocks, rate_hz: int, resampler: Resampler = RESAMPY
) -> Iterator[NDArray[np.floating]]:
    """Resamples a mono waveform to 16 kHz.

    Args:
      blocks: the waveform, [samples] each, of any lengths; where they end makes no difference to a bit.
      rate_hz: its sample rate.
      resampler: `resampy`, the reference's `kaiser_best`, within 1e-9 of `resampy.resample` in float64; or
        `soxr`, libsoxr's HQ in float32, which is another filter: its features are not the reference's.

    Yields:
      [samples] at 16 kHz, float64 from resampy; in all floor(samples * 16000 / rate_hz).
    """
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
    elif resampler == SOXR:
        yield from _by_soxr(blocks, rate_hz)
    elif (filters := polyphase(rate_hz)) is not None:
        yield from _by_polyphase(blocks, rate_hz, filters)
    else:
        yield from _by_resampy(blocks, rate_hz)


def _by_polyphase(blocks: Blocks, rate_hz: int, filters: Polyphase) -> Iterator[NDArray[np.float64]]:
    window = SlidingWindow(filters.window_samples, filters.block_samples, num_zeros=filters.reach)
    views = filters.windows(window.samples)
    num_samples, done = 0, 0
    for block in blocks:
        num_samples += len(block)
        for _ in window.push(block):
            yield filters.apply(views)
            done += filters.block_outputs
    total = resampled_length(num_samples, rate_hz)
    while done < total:
        window.pad()
        yield filters.apply(views)[: total - done]
        done += filters.block_outputs
        window.move()


def _by_resampy(blocks: Blocks, rate_hz: int) -> Iterator[NDArray[np.float64]]:
    """resampy's own loop over stretches, for ratios with too many phases; some fifty times slower.

    The bits are those of `resampy.resample` on the whole waveform: each stretch has all samples that the
    filter reaches, and only whole numbers are taken off the time axis, which is exact.
    """
    from resampy.interpn import resample_f_s  # a compiler, 0.1 GB: only where it is needed

    filters = interpolated_filter(rate_hz)

    def stretch(kept: NDArray, first: int, start: int, stop: int) -> NDArray[np.float64]:
        times = np.arange(start, stop) * filters.time_increment - first
        output = np.zeros(stop - start)
        resample_f_s(kept, times, filters.window, filters.delta, filters.precision, filters.scale, output)
        return output

    kept = np.empty(0)  # input from sample `first` on
    first, done = 0, 0  # input samples dropped, output samples made
    for block in blocks:
        kept = np.concatenate([kept, block])
        # Up to here an output sample has all the input to its right that it reaches.
        ready = int((first + len(kept) - filters.reach - 1) / filters.time_increment)
        if ready > done:
            yield stretch(kept, first, done, ready)
            done = ready
            drop = max(int(done * filters.time_increment) - filters.reach - 1 - first, 0)
            kept, first = kept[drop:], first + drop
    total = resampled_length(first + len(kept), rate_hz)
    if total > done:
        yield stretch(kept, first, done, total)


def _by_soxr(blocks: Blocks, rate_hz: int) -> Iterator[NDArray[np.float32]]:
    import soxr  # an extra

    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    num_samples, done = 0, 0
    kept = np.empty(0, np.float32)
    for block in blocks:
        num_samples += len(block)
        kept = np.concatenate([kept, block.astype(np.float32, copy=False)])
        while len(kept) >= _SOXR_BLOCK:
            resampled = stream.resample_chunk(kept[:_SOXR_BLOCK])
            kept = kept[_SOXR_BLOCK:]
            done += len(resampled)
            yield resampled
    # soxr rounds the length up.
    left = resampled_length(num_samples, rate_hz) - done
    yield stream.resample_chunk(kept, last=True)[:left]
