"""The per-file recipe that people use today, as the baseline: one file after the other, a batch a file.

As the reference's inference demo does it: resampy on float64, a float64 spectrogram with NumPy, the network
by TensorFlow in float32 with the file's examples as the batch, PCA and quantization. The model is loaded
once.
"""

import numpy as np
import resampy
import soundfile
from numpy.typing import NDArray

from transforms.audio.dsp.log_mel import hann_window, mel_matrix
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import build_vggish
from transforms.vggish.params import (
    EXAMPLE_FRAMES,
    FFT_SAMPLES,
    LOG_OFFSET,
    SAMPLE_RATE_HZ,
    STFT_HOP_SAMPLES,
    STFT_WINDOW_SAMPLES,
)
from transforms.vggish.postprocess import PcaParams, postprocess


def mono(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """int16[frames, channels] -> float64[frames]."""
    return np.mean(samples / 32768.0, axis=1)


def log_mel(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-mel frames of a waveform at 16 kHz, float64[frames, 64].

    As the reference does, it makes its window and its mel weights anew for each waveform.
    """
    hann, mel = hann_window.__wrapped__(), mel_matrix.__wrapped__().astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, STFT_WINDOW_SAMPLES)[::STFT_HOP_SAMPLES]
    magnitude = np.abs(np.fft.rfft(windows * hann, FFT_SAMPLES))
    return np.log(np.dot(magnitude, mel) + LOG_OFFSET)


class Recipe:
    """Args: as `read_weights` takes; PCA parameters, or None."""

    def __init__(self, weights: str, pca: PcaParams | None):
        self._model = build_vggish(read_weights(weights))
        self._pca = pca

    def embed(self, path: str) -> NDArray[np.uint8]:
        """A 16-bit file's frames, uint8[n, 128]."""
        samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
        waveform = mono(samples)
        if rate_hz != SAMPLE_RATE_HZ:
            waveform = resampy.resample(waveform, rate_hz, SAMPLE_RATE_HZ)
        frames = log_mel(waveform)
        num_examples = len(frames) // EXAMPLE_FRAMES
        examples = frames[: num_examples * EXAMPLE_FRAMES].reshape(num_examples, EXAMPLE_FRAMES, -1)
        embeddings = np.asarray(self._model.predict_on_batch(examples.astype(np.float32)))
        return postprocess(embeddings, self._pca)
