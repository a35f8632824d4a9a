"""Audio for tests."""

from pathlib import Path

import numpy as np
import soundfile

from transforms.audio.decode import SpanReader, mono_blocks
from transforms.audio.dsp.resample import resample_blocks


def noise(duration_s: float, rate_hz: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return quiet noise, float64[samples, channels]."""
    samples = round(duration_s * rate_hz)
    return 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))


def write_noise(path: Path, duration_s: float, rate_hz: int = 16_000, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(duration_s, rate_hz, seed=seed), rate_hz, **options)
    return path


def write_bad_files(folder: Path) -> dict[str, str]:
    """Write one file with each fault, and return id -> reason."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.wav").write_text("no audio\n" * 100)
    (folder / "empty.wav").touch()
    flac = write_noise(folder / "truncated.flac", 5.0)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    write_noise(folder / "short.wav", 0.5)
    soundfile.write(folder / "nan.wav", np.full(32_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    return {
        "text": "not_audio",
        "empty": "not_audio",
        "truncated": "corrupt",
        "short": "too_short",
        "nan": "not_finite",
    }


def read_mono(stream, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
    """Return the waveform of an opened audio stream, or its part between two times, as one array."""
    start = round(start_s * stream.rate_hz)
    reader = SpanReader(mono_blocks(stream))
    reader.skip(start)
    length = None if end_s is None else round(end_s * stream.rate_hz) - start
    return np.concatenate([np.empty(0), *reader.take(length)])


def resample(waveform: np.ndarray, rate_hz: int, block: int = 1 << 16) -> np.ndarray:
    """Resample a whole waveform with the streaming resampler."""
    blocks = (waveform[start : start + block] for start in range(0, len(waveform), block))
    return np.concatenate([np.empty(0), *resample_blocks(blocks, rate_hz)])


def tones(duration_s: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """Return a chord over quiet noise, float64[samples], of values that are exact in int16."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * times_s) for hz in rng.uniform(100, 6_000, 4))
    return np.round(5_000 * chord + 300 * rng.standard_normal(len(times_s))) / 32_768
