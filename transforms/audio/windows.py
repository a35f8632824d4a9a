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
from transforms.audio.resample import resample_blocks, resampled_length
from transforms.vggish.params import INT16_SCALE, SAMPLE_RATE_HZ, STFT_HOP_SAMPLES, Framing


def window_rate_hz(rate_hz: int, framing: Framing = Framing()) -> int:
    """Sample rate of a waveform's windows.

    The waveform's own, where the resampler has matrices for it and the windows begin at whole samples, as at
    all usual rates with the release's hop; else 16 kHz, after resampling.
    """
    if rate_hz != SAMPLE_RATE_HZ and (polyphase(rate_hz) is None or _hop_samples(rate_hz, framing) is None):
        return SAMPLE_RATE_HZ
    return rate_hz


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
    blocks: Iterable[NDArray[np.float64]], rate_hz: int, framing: Framing = Framing()
) -> Iterator[NDArray]:
    """Cuts a mono waveform into windows, in bounded memory.

    Args:
      blocks: the waveform, float64[samples] each, of any lengths, full scale 1.0; where they end makes no
        difference to a sample of the result.
      rate_hz: its sample rate.
      framing: window and hop of an example.

    Yields:
      [n, window_samples], n from 1, at least once, at `window_rate_hz`: the samples times 32,768, as int16
      where that is exact and as float32 elsewhere, so that parts of both kinds can be put together. In all as
      many as `front_end.waveform_examples` gives examples.

    Raises:
      ClipError: as `front_end.waveform_examples`.
    """
    num_samples = 0

    def counted() -> Iterator[NDArray[np.float64]]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    own_hz = window_rate_hz(rate_hz, framing)
    hop = _hop_samples(own_hz, framing)
    assert hop is not None
    window = window_samples(own_hz)
    reach = 0 if own_hz == SAMPLE_RATE_HZ else interpolated_filter(own_hz).reach
    kept = np.zeros(reach)
    skip, done = 0, 0  # samples between two windows, where the hop is longer; windows given
    checked = in_range(counted())
    for block in checked if own_hz == rate_hz else resample_blocks(checked, rate_hz):
        kept = np.concatenate([kept, block[skip:]])
        skip = max(skip - len(block), 0)
        if len(kept) >= window:
            number = 1 + (len(kept) - window) // hop
            yield _windows(kept, number, window, hop)
            done += number
            skip = max(number * hop - len(kept), 0)
            kept = kept[number * hop :]
    left = framing.num_examples(resampled_length(num_samples, rate_hz)) - done
    if left:
        yield _windows(np.pad(kept, (0, window + left * hop)), left, window, hop)
    elif not done:
        raise too_short(num_samples, rate_hz, framing)


def _windows(samples: NDArray[np.floating], number: int, window: int, hop: int) -> NDArray:
    pcm = _pcm(samples[: window + (number - 1) * hop])
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(pcm, window)[::hop])


def _pcm(samples: NDArray[np.floating]) -> NDArray:
    """Samples times 32,768: int16 where they are such, and else float32."""
    scaled = samples * INT16_SCALE
    with np.errstate(invalid="ignore"):  # too large for it, and so not equal
        pcm = scaled.astype(np.int16)
    return pcm if np.array_equal(pcm, scaled) else scaled.astype(np.float32)


def _hop_samples(rate_hz: int, framing: Framing) -> int | None:
    """Samples from one window to the next; None where these are no whole number."""
    samples, rest = divmod(framing.hop_frames * STFT_HOP_SAMPLES * rate_hz, SAMPLE_RATE_HZ)
    return None if rest else samples


def _taps(rate_hz: int) -> NDArray[np.float64] | None:
    return None if rate_hz == SAMPLE_RATE_HZ else row_taps(rate_hz)
