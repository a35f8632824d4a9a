"""A Keras layer for accelerators that computes log-mel examples from windows of PCM, on any backend.

It computes in float32. A quiet band next to a loud tone has an error of up to 8e-5 (see
`audio/dsp/log_mel.py`), which changes about one byte in several thousand by one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.frameworks import keras
from transforms.vggish.params import (
    EXAMPLE_FRAMES,
    FFT_SAMPLES,
    INT16_SCALE,
    LOG_OFFSET,
    STFT_HOP_SAMPLES,
    STFT_WINDOW_SAMPLES,
    Framing,
)
from transforms.vggish.precision import exact_products

ops = keras.ops

_EXAMPLE_SAMPLES = Framing().min_samples


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """The parameters of `LogMel` for windows of one sample rate."""

    window_samples: int  # per example
    taps: NDArray[np.floating] | None  # [rows, M, L], as `polyphase.row_taps` returns; None at 16 kHz
    hann: NDArray[np.floating]  # [400], the window of the Fourier transform
    mel: NDArray[np.floating]  # [257, 64], the matrix from magnitudes to bands


def add_constant(layer: keras.layers.Layer, name: str, values: NDArray) -> keras.Variable:
    """Add constant values to a layer; they are on the device before its first call."""
    initial = ops.convert_to_tensor(values, "float32")
    return layer.add_weight(values.shape, lambda shape, dtype: initial, name=name)


class LogMel(keras.layers.Layer):
    """[n, window_samples] PCM, int16 or float32 in int16 units -> float32[n, 96, 64]."""

    def __init__(self, front_end: FrontEnd, **options: Any):
        super().__init__(dtype="float32", autocast=False, trainable=False, **options)
        # The mel bands use only a part of the frequency bins.
        used = np.flatnonzero(front_end.mel.any(axis=1))
        self._bins = slice(int(used[0]), int(used[-1]) + 1)
        self._mel = add_constant(self, "mel", front_end.mel[self._bins])
        self._hann = add_constant(self, "hann", front_end.hann)
        taps = front_end.taps
        self._taps = [] if taps is None else [add_constant(self, f"taps_{k}", t) for k, t in enumerate(taps)]
        self.built = True

    def call(self, windows: Any) -> Any:
        with exact_products():
            samples = ops.cast(windows, "float32") / INT16_SCALE
            # Samples far above full scale would overflow float32 when squared.
            peak = ops.maximum(ops.max(ops.abs(samples), axis=1, keepdims=True), 1.0)
            magnitudes = self._magnitudes(self._resample(samples / peak))
            return ops.log(ops.matmul(magnitudes, self._mel) * peak[:, None] + LOG_OFFSET)

    def _resample(self, samples: Any) -> Any:
        if not self._taps:
            return samples
        row = self._taps[0].shape[0]
        rows = ops.reshape(samples, (-1, samples.shape[1] // row, row))
        number = rows.shape[1] - len(self._taps) + 1
        outputs = sum(ops.matmul(rows[:, k : k + number], taps) for k, taps in enumerate(self._taps))
        return ops.reshape(outputs, (-1, number * self._taps[0].shape[1]))[:, :_EXAMPLE_SAMPLES]

    def _magnitudes(self, samples: Any) -> Any:
        # Frames overlap. They are assembled from whole hops.
        hop, overlapping = STFT_HOP_SAMPLES, -(-STFT_WINDOW_SAMPLES // STFT_HOP_SAMPLES)
        num_hops = EXAMPLE_FRAMES + overlapping - 1
        samples = ops.pad(samples, ((0, 0), (0, num_hops * hop - _EXAMPLE_SAMPLES)))
        hops = ops.reshape(samples, (-1, num_hops, hop))
        parts = [hops[:, k : k + EXAMPLE_FRAMES] for k in range(overlapping)]
        frames = ops.concatenate(parts, axis=-1)[..., :STFT_WINDOW_SAMPLES]
        # A matrix product instead of the FFT is slower on CPU.
        real, imaginary = ops.rfft(frames * self._hann, FFT_SAMPLES)
        real, imaginary = real[..., self._bins], imaginary[..., self._bins]
        return ops.sqrt(real * real + imaginary * imaginary)
