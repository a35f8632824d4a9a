"""Generates a small corpus of sounds: several formats, rates and channels, one broken file, one too short."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def _sweep(times_s: NDArray) -> NDArray:
    """100 Hz to 4 kHz over the whole clip."""
    octaves = np.log2(40.0) / times_s[-1]
    return np.sin(2 * np.pi * 100.0 * (2 ** (octaves * times_s) - 1) / (octaves * np.log(2)))


def _chord(times_s: NDArray) -> NDArray:
    """A minor, four notes with a slow tremolo."""
    notes = sum(np.sin(2 * np.pi * f * times_s) for f in (220.0, 261.63, 329.63, 440.0))
    return notes / 4 * (0.7 + 0.3 * np.sin(2 * np.pi * 3 * times_s))


def _drum(times_s: NDArray) -> NDArray:
    """Two hits of noise per second."""
    noise = np.random.default_rng(1).standard_normal(len(times_s))
    return np.clip(noise * np.exp(-12 * (times_s % 0.5)) / 3, -1, 1)


def _siren(times_s: NDArray) -> NDArray:
    phase = 2 * np.pi * 800 * times_s - 300 * np.cos(2 * np.pi * 0.5 * times_s)
    return np.sin(phase)


def _rain(times_s: NDArray) -> NDArray:
    """Brown-ish noise."""
    noise = np.random.default_rng(2).standard_normal(len(times_s))
    smooth = np.convolve(noise, np.ones(8) / 8, mode="same")
    return smooth / np.abs(smooth).max()


def _birds(times_s: NDArray) -> NDArray:
    """Chirps at 3 to 6 kHz."""
    within_s = times_s % 0.8
    return np.sin(2 * np.pi * (3_000 + 4_000 * within_s) * within_s) * (within_s < 0.3)


# File name, sound, seconds, rate in Hz, channels, libsndfile's format and subtype.
_CLIPS = (
    ("sweep.wav", _sweep, 10.0, 44_100, 2, "WAV", "PCM_16"),
    ("chord.flac", _chord, 10.0, 48_000, 1, "FLAC", "PCM_24"),
    ("drum.ogg", _drum, 8.0, 22_050, 2, "OGG", "VORBIS"),
    ("siren.mp3", _siren, 6.0, 44_100, 1, "MP3", "MPEG_LAYER_III"),
    ("rain.opus", _rain, 12.0, 48_000, 2, "OGG", "OPUS"),
    ("birds.aiff", _birds, 5.0, 32_000, 6, "AIFF", "PCM_16"),
    ("phone.wav", _chord, 4.0, 8_000, 1, "WAV", "ULAW"),
    ("click.wav", _drum, 0.5, 16_000, 1, "WAV", "PCM_16"),  # too short for a frame
)
BROKEN = "broken.wav"


def make_demo_corpus(folder: Path) -> None:
    """Write the corpus into a folder, always with the same sounds: 7 good clips and 2 bad ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound, duration_s, rate_hz, channels, file_format, subtype in _CLIPS:
        times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
        # Each channel is softer than the one before, so that the mean differs from every channel.
        gains = 0.8 * 0.9 ** np.arange(channels)
        samples = sound(times_s)[:, np.newaxis] * gains
        soundfile.write(folder / name, samples, rate_hz, format=file_format, subtype=subtype)
    (folder / BROKEN).write_text("This is not audio, despite its name.\n")
