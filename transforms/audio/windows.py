"""A waveform to windows of PCM, one an example, for front ends on an accelerator.

A window holds all samples that an example depends on, at the waveform's own rate where it can be: what a
device resamples need not be resampled by the CPU.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.front_end import in_range, too_short
from transforms.audio.polyphase import interpolated_filter, polyphase, row_taps
from transforms.audio.resample import RESAMPY, Resampler, resample_blocks, resampled_length
from transforms.audio.sliding import Counted, SlidingWindow
from transforms.vggish.params import INT16_SCALE, SAMPLE_RATE_HZ, STFT_HOP_SAMPLES, Framing


def window_rate_hz(rate_hz: int, framing: Framing = Framing(), resampler: Resampler = RESAMPY) -> int:
    """Sample rate of a waveform's windows.

    The waveform's own, where resampy's filter has matrices for it and the windows begin at whole samples, as
    at all usual rates with the release's hop; else 16 kHz, after resampling.
    """
    whole_hops = framing.hop_frames * STFT_HOP_SAMPLES * rate_hz % SAMPLE_RATE_HZ == 0
    return rate_hz if resampler == RESAMPY and whole_hops and polyphase(rate_hz) else SAMPLE_RATE_HZ


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
) -> Iterator[NDArray]:
    """Cuts a mono waveform into windows, in bounded memory.

    Args:
      blocks: the waveform, [samples] each, of any lengths, full scale 1.0; where they end makes no difference
        to a sample of the result.
      rate_hz: its sample rate.
      framing: window and hop of an example.
      resampler: as `resample_blocks` takes it.

    Yields:
      [1, window_samples], at least once, at `window_rate_hz`: the samples times 32,768, as int16 where that
      is exact and as float32 elsewhere, so that parts of both kinds can be put together. As many as
      `front_end.waveform_examples` gives examples.

    Raises:
      ClipError: as `front_end.waveform_examples`.
    """
    counted, done = Counted(blocks), 0
    own_hz = window_rate_hz(rate_hz, framing, resampler)
    size, hop = window_samples(own_hz), _hop_samples(own_hz, framing)
    reach = 0 if own_hz == SAMPLE_RATE_HZ else interpolated_filter(own_hz).reach
    window = SlidingWindow(max(size, hop), hop, num_zeros=reach)
    waveform = in_range(counted)
    for block in waveform if own_hz == rate_hz else resample_blocks(waveform, rate_hz, resampler):
        for samples in window.push(block):
            yield _pcm(samples[np.newaxis, :size])
            done += 1
    total = framing.num_examples(resampled_length(counted.num_samples, rate_hz))
    if not total:
        raise too_short(counted.num_samples, rate_hz, framing)
    for _ in range(done, total):
        window.pad()
        yield _pcm(window.samples[np.newaxis, :size])
        window.move()


def _pcm(samples: NDArray[np.floating]) -> NDArray:
    """Samples times 32,768: int16 where they are such, and else float32."""
    scaled = samples * INT16_SCALE
    with np.errstate(invalid="ignore"):  # too large for it, and so not equal
        pcm = scaled.astype(np.int16)
    return pcm if np.array_equal(pcm, scaled) else scaled.astype(np.float32)


def _hop_samples(rate_hz: int, framing: Framing) -> int:
    """Samples from one window to the next, where that is a whole number."""
    return framing.hop_frames * STFT_HOP_SAMPLES * rate_hz // SAMPLE_RATE_HZ


def _taps(rate_hz: int) -> NDArray[np.float64] | None:
    return None if rate_hz == SAMPLE_RATE_HZ else row_taps(rate_hz)
