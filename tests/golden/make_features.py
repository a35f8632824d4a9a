"""python tests/golden/make_features.py: compute `features.npz` by definition, in float64 NumPy.

This is a second implementation of the whole way from a waveform to the release's bytes. It shares only
resampy and the arrays of `random:0` with the project: it uses Fourier sums instead of an FFT, convolutions as
matrix products, no batches and no float32. The PCA parameters are a scaled discrete cosine transform. The
script refuses values that lie within 0.001 of a byte's edge, because float32 changes a value by up to 0.0002
(measured).
"""

import io
import math
from pathlib import Path

import numpy as np
import soundfile

SECONDS, RATE_HZ = 3, 44_100
_MARGIN = 0.001


def waveform() -> np.ndarray:
    """Return chirps over a hum, with a silence: int16[132300, 2], the same in every version of NumPy."""
    t = np.arange(SECONDS * RATE_HZ)[:, np.newaxis] / RATE_HZ
    rates_hz = np.array([[900.0, 1_700.0]])
    chirps = np.sin(2 * np.pi * (200 + rates_hz * t) * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.3 * t))
    hum = np.sin(2 * np.pi * np.array([[120.0, 3_100.0]]) * t)
    loud = (t < 1.2) | (t > 1.5)
    return np.round(32_767 * loud * (0.3 * chirps + 0.1 * hum)).astype(np.int16)


def wav() -> bytes:
    """Return the waveform as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, waveform(), RATE_HZ, "PCM_16", format="WAV")
    return file.getvalue()


def pca() -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix that spreads values over the bytes, float64[128, 128], and means, float64[128, 1]."""
    k = np.arange(128)
    cosines = np.cos(np.pi * (2 * k[:, np.newaxis] + 1) * k / 256)  # the discrete cosine transform's matrix
    matrix = cosines / np.linalg.norm(cosines, axis=0)
    return 1.2 * matrix.T, 0.05 * np.sin(k)[:, np.newaxis]


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Map float64[samples] at 16 kHz to log-mel frames, float64[frames, 64]."""
    n = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    fourier = np.exp(-2j * np.pi * np.outer(n, np.arange(257)) / 512)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    return np.log(np.abs((frames * hann) @ fourier) @ mel_weights() + 0.01)


def mel_weights() -> np.ndarray:
    """Return the triangular mel filters, float64[257, 64]; the first bin has no weight."""

    def mel(f_hz: float) -> float:
        return 1127 * math.log(1 + f_hz / 700)

    edges = [mel(125) + i * (mel(7500) - mel(125)) / 65 for i in range(66)]
    weights = np.zeros((257, 64))
    for band in range(64):
        left, middle, right = edges[band : band + 3]
        for k in range(1, 257):
            m = mel(k * 16_000 / 512)
            weights[k, band] = max(0.0, min((m - left) / (middle - left), (right - m) / (right - middle)))
    return weights


def network(example: np.ndarray, weights) -> np.ndarray:
    """Map an example, float64[96, 64], to its embedding, float64[128]."""

    def conv(x: np.ndarray, scope: str) -> np.ndarray:
        kernel, bias = (
            weights[f"vggish/{scope}/{name}"].astype(np.float64) for name in ("weights", "biases")
        )
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        height, width, _ = x.shape
        out = np.zeros((height, width, kernel.shape[-1])) + bias
        for dy in range(3):
            for dx in range(3):
                out += padded[dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        return np.maximum(out, 0)

    def pool(x: np.ndarray) -> np.ndarray:
        height, width, channels = x.shape
        return x.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))

    def dense(x: np.ndarray, scope: str) -> np.ndarray:
        kernel, bias = (
            weights[f"vggish/{scope}/{name}"].astype(np.float64) for name in ("weights", "biases")
        )
        return x @ kernel + bias

    x = pool(conv(example[..., np.newaxis], "conv1"))
    x = pool(conv(x, "conv2"))
    x = pool(conv(conv(x, "conv3/conv3_1"), "conv3/conv3_2"))
    x = pool(conv(conv(x, "conv4/conv4_1"), "conv4/conv4_2"))
    x = x.ravel()
    for scope in ("fc1/fc1_1", "fc1/fc1_2"):
        x = np.maximum(dense(x, scope), 0)
    return dense(x, "fc2")


def main() -> None:
    import resampy  # loads a compiler

    from transforms.vggish.checkpoint import read_weights

    mono = waveform().astype(np.float64).mean(axis=1) / 32_768
    frames = log_mel(resampy.resample(mono, RATE_HZ, 16_000))
    examples = frames[: len(frames) // 96 * 96].reshape(-1, 96, 64)
    weights = dict(read_weights("random:0"))
    embeddings = np.stack([network(example, weights) for example in examples])
    matrix, means = pca()
    values = (np.clip((matrix @ (embeddings.T - means)).T, -2, 2) + 2) / 4 * 255
    margins = np.abs(values - np.round(values))[(values > 0) & (values < 255)]
    print(f"{len(values)} frames; nearest to an edge {margins.min():.5f}; spread {values.std():.1f}")
    if margins.min() < _MARGIN:
        raise SystemExit("a value lies too near to a byte's edge; change the waveform a little")
    np.savez_compressed(
        Path(__file__).with_name("features.npz"),
        embeddings=embeddings.astype(np.float32),
        codes=values.astype(np.uint8),
    )


if __name__ == "__main__":
    main()
