"""Resample any rate to 16 kHz as the reference does, in blocks of any size."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.polyphase import Polyphase, interpolated_filter, polyphase
from transforms.audio.dsp.sliding import SlidingWindow
from transforms.audio.resamplers import RESAMPY, SOXR, Resampler
from transforms.vggish.params import SAMPLE_RATE_HZ

# soxr's output depends on the lengths of its inputs, so they are fixed.
_SOXR_BLOCK = 1 << 16

Blocks = Iterable[NDArray[np.floating]]


def resampled_length(num_samples: int, rate_hz: int) -> int:
    """Return the number of samples at 16 kHz for `num_samples` at `rate_hz`."""
    return num_samples * SAMPLE_RATE_HZ // rate_hz


def resample_blocks(
    blocks: Blocks, rate_hz: int, resampler: Resampler = RESAMPY
) -> Iterator[NDArray[np.floating]]:
    """Resample a mono waveform to 16 kHz.

    Args:
      blocks: the waveform, [samples] each, of any lengths. Their boundaries do not change the bits.
      rate_hz: its sample rate.
      resampler: `resampy`, the reference's `kaiser_best`, within 1e-9 of `resampy.resample` in float64; or
        `soxr`, libsoxr's HQ in float32, a different filter, whose features differ from the reference's.

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
        window.samples[window.filled :] = 0.0
        yield filters.apply(views)[: total - done]
        done += filters.block_outputs
        window.move()


def _by_resampy(blocks: Blocks, rate_hz: int) -> Iterator[NDArray[np.float64]]:
    """Run resampy's own loop on ranges, for ratios with too many phases; some fifty times slower.

    The result is bit-identical to `resampy.resample` of the whole waveform. Each range has all samples that
    the filter reaches, and only whole numbers are subtracted from the time axis, which is exact.
    """
    from resampy.interpn import resample_f_s  # loads a compiler, 0.1 GB: import it only when needed

    filters = interpolated_filter(rate_hz)

    def resample_range(kept: NDArray, first: int, start: int, stop: int) -> NDArray[np.float64]:
        times = np.arange(start, stop) * filters.time_increment - first
        output = np.zeros(stop - start)
        resample_f_s(kept, times, filters.window, filters.delta, filters.precision, filters.scale, output)
        return output

    kept = np.empty(0)  # the input from sample `first` on
    first, done = 0, 0  # input samples dropped, output samples returned
    for block in blocks:
        kept = np.concatenate([kept, block])
        # Output samples before this one have all the input on their right that the filter reaches.
        ready = int((first + len(kept) - filters.reach - 1) / filters.time_increment)
        if ready > done:
            yield resample_range(kept, first, done, ready)
            done = ready
            drop = max(int(done * filters.time_increment) - filters.reach - 1 - first, 0)
            kept, first = kept[drop:], first + drop
    total = resampled_length(first + len(kept), rate_hz)
    if total > done:
        yield resample_range(kept, first, done, total)


def _by_soxr(blocks: Blocks, rate_hz: int) -> Iterator[NDArray[np.float32]]:
    import soxr  # an optional dependency

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
    # soxr rounds the length up; cut it.
    left = resampled_length(num_samples, rate_hz) - done
    yield stream.resample_chunk(kept, last=True)[:left]
