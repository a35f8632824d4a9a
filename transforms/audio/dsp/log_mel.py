"""Compute log-mel examples of a waveform.

Samples, window and FFT stay in float64; everything after the magnitude is float32. This keeps every band
within 1e-6 of the reference. Rounding to float32 before the FFT would change a quiet band next to a loud tone
(a sine at 1 kHz) by up to 8e-5. NumPy's float64 FFT is also faster than its float32 one.
"""

import functools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.sliding import SlidingWindow
from transforms.vggish.params import (
    FFT_SAMPLES,
    LOG_OFFSET,
    MEL_BANDS,
    MEL_BREAK_HZ,
    MEL_HIGH_Q,
    MEL_MAX_HZ,
    MEL_MIN_HZ,
    SAMPLE_RATE_HZ,
    STFT_HOP_SAMPLES,
    STFT_WINDOW_SAMPLES,
    Framing,
)

# Spectrogram frames per block, and per chunk, whose spectra stay in the cache. Blocks begin at multiples of
# their size. So every frame goes through the same matrix product, with the same bits, whether the waveform
# comes in blocks or as a whole.
_BLOCK_FRAMES, _CHUNK_FRAMES = 1024, 64
_BLOCK_SAMPLES = STFT_WINDOW_SAMPLES + (_BLOCK_FRAMES - 1) * STFT_HOP_SAMPLES


def hz_to_mel(frequency_hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Convert a frequency to mel by the HTK formula, 1127 ln(1 + f / 700)."""
    return MEL_HIGH_Q * np.log1p(np.asarray(frequency_hz, np.float64) / MEL_BREAK_HZ)


@functools.cache
def hann_window() -> NDArray[np.float64]:
    """Return the periodic Hann window, float64[400]: 0.5 - 0.5 cos(2 pi n / 400)."""
    phase = 2 * np.pi * np.arange(STFT_WINDOW_SAMPLES) / STFT_WINDOW_SAMPLES
    return 0.5 - 0.5 * np.cos(phase)


@functools.cache
def mel_matrix() -> NDArray[np.float32]:
    """Return the weights from FFT magnitudes to mel bands, float32[257, 64].

    Triangles are linear in mel, not in hertz, and not normalised by area; the DC bin has no weight.
    """
    bins = FFT_SAMPLES // 2 + 1
    bin_mel = hz_to_mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, bins))[:, np.newaxis]
    edges = _band_edges_mel()
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bin_mel - lower) / (center - lower)
    falling = (upper - bin_mel) / (upper - center)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights.astype(np.float32)


def band_centres_hz() -> NDArray[np.float64]:
    """Return the centre frequencies of the mel bands in Hz, float64[64]."""
    return MEL_BREAK_HZ * np.expm1(_band_edges_mel()[1:-1] / MEL_HIGH_Q)


def _band_edges_mel() -> NDArray[np.float64]:
    """Return the ends and the centres of the bands: band n begins at n, peaks at n + 1 and ends at n + 2."""
    return np.linspace(hz_to_mel(MEL_MIN_HZ), hz_to_mel(MEL_MAX_HZ), MEL_BANDS + 2)


def log_mel_blocks(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    """Compute log-mel frames of a waveform that arrives in blocks of any lengths.

    Args:
      blocks: [samples] each, mono at 16 kHz, full scale 1.0.

    Yields:
      float32[1024, 64], fewer rows in the last block. There are 1 + floor((samples - 400) / 160) frames in
      all, one per 10 ms, and none for fewer than 400 samples.
    """
    window = SlidingWindow(_BLOCK_SAMPLES, _BLOCK_FRAMES * STFT_HOP_SAMPLES)
    for block in blocks:
        for samples in window.push(block):
            yield _log_mel(samples)
    if window.filled >= STFT_WINDOW_SAMPLES:
        yield _log_mel(window.samples[: window.filled])


def _log_mel(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    frames = np.lib.stride_tricks.sliding_window_view(samples, STFT_WINDOW_SAMPLES)[::STFT_HOP_SAMPLES]
    log_mel = np.empty((len(frames), MEL_BANDS), np.float32)
    windowed = np.zeros((_CHUNK_FRAMES, FFT_SAMPLES))
    spectrum = np.empty((_CHUNK_FRAMES, FFT_SAMPLES // 2 + 1), np.complex128)
    bins, bands = _mel_bands()
    for start in range(0, len(frames), _CHUNK_FRAMES):
        chunk, mel = (rows[start : start + _CHUNK_FRAMES] for rows in (frames, log_mel))
        np.multiply(chunk, hann_window(), out=windowed[: len(chunk), :STFT_WINDOW_SAMPLES])
        np.fft.rfft(windowed[: len(chunk)], out=spectrum[: len(chunk)])
        # Rounding after the FFT keeps float32's precision of the magnitudes, and takes half the time.
        magnitude = np.abs(spectrum[: len(chunk), bins].astype(np.complex64))
        for used, some, weights in bands:
            np.matmul(magnitude[:, used], weights, out=mel[:, some])
    log_mel += np.float32(LOG_OFFSET)
    return np.log(log_mel, out=log_mel)


@functools.cache
def _mel_bands() -> tuple[slice, list[tuple[slice, slice, NDArray[np.float32]]]]:
    """Return the bins with any weight, and for each half of the bands: its bins, the bands, the weights.

    Two halves need half the arithmetic, because the lower bands cover few bins.
    """
    used = np.flatnonzero(mel_matrix().any(axis=1))
    bins = slice(int(used[0]), int(used[-1]) + 1)
    weights = mel_matrix()[bins]
    halves = []
    for some in (slice(0, MEL_BANDS // 2), slice(MEL_BANDS // 2, MEL_BANDS)):
        used = np.flatnonzero(weights[:, some].any(axis=1))
        own = slice(int(used[0]), int(used[-1]) + 1)
        halves.append((own, some, np.ascontiguousarray(weights[own, some])))
    return bins, halves


def example_blocks(
    frames: Iterable[NDArray[np.float32]], framing: Framing = Framing()
) -> Iterator[NDArray[np.float32]]:
    """Cut log-mel frames into examples, the inputs of the network.

    Args:
      frames: float32[frames, 64] each, of any lengths.
      framing: window and hop of an example.

    Yields:
      float32[examples, 96, 64] with at least one example; an incomplete example at the end is dropped.
    """
    window, hop = framing.window_frames, framing.hop_frames
    kept = np.empty((0, MEL_BANDS), np.float32)
    skip = 0  # frames between two windows, if the hop is longer than the window
    for block in frames:
        kept = np.concatenate([kept, block[skip:]])
        skip = max(skip - len(block), 0)
        if len(kept) >= window:
            windows = np.lib.stride_tricks.sliding_window_view(kept, window, axis=0)[::hop]
            yield np.ascontiguousarray(windows.transpose(0, 2, 1))
            skip = max(hop * len(windows) - len(kept), 0)
            kept = kept[hop * len(windows) :]


def log_mel_examples(waveform: NDArray[np.floating], framing: Framing = Framing()) -> NDArray[np.float32]:
    """Compute log-mel examples of a whole waveform: `example_blocks` of its `log_mel_blocks`.

    Args:
      waveform: [samples], mono at 16 kHz, full scale 1.0.
      framing: window and hop of an example.

    Returns:
      float32[examples, 96, 64]; none for fewer than 15,600 samples (0.975 s).
    """
    none = np.empty((0, framing.window_frames, MEL_BANDS), np.float32)
    return np.concatenate([none, *example_blocks(log_mel_blocks([waveform]), framing)])
