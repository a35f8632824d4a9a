"""The per-file recipe in common use, as the baseline: one file after the other, one batch per file.

It follows the reference's inference demo: resampy on float64, a float64 spectrogram with NumPy, the network
in TensorFlow and float32 with all examples of the file as the batch, and quantization (here without PCA).
"""

import numpy as np
import resampy
import soundfile
from numpy.typing import NDArray

from transforms.audio.dsp.log_mel import hann_window, mel_matrix
from transforms.frameworks import keras
from transforms.vggish import params
from transforms.vggish.postprocess import postprocess


def mono(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Convert int16[frames, channels] to float64 and mix it to float64[frames], in the reference's order."""
    return np.mean(samples / 32768.0, axis=1)


def log_mel(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-mel frames of a waveform at 16 kHz, float64[frames, 64].

    Like the reference, it computes the window and the mel matrix again for each waveform.
    """
    hann, mel = hann_window.__wrapped__(), mel_matrix.__wrapped__().astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, params.STFT_WINDOW_SAMPLES)
    magnitude = np.abs(np.fft.rfft(windows[:: params.STFT_HOP_SAMPLES] * hann, params.FFT_SAMPLES))
    return np.log(np.dot(magnitude, mel) + params.LOG_OFFSET)


def embed(path: str, model: keras.Model) -> NDArray[np.uint8]:
    """Return the features of a 16-bit file, uint8[n, 128]."""
    samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    waveform = mono(samples)
    if rate_hz != params.SAMPLE_RATE_HZ:
        waveform = resampy.resample(waveform, rate_hz, params.SAMPLE_RATE_HZ)
    frames = log_mel(waveform)
    size = params.EXAMPLE_FRAMES
    examples = frames[: len(frames) // size * size].reshape(-1, size, params.MEL_BANDS)
    embeddings = np.asarray(model.predict_on_batch(examples.astype(np.float32)))
    return postprocess(embeddings, None)
