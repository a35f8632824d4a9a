"""Decoding and extraction before the model: python -m benchmarks.decoding codecs|extraction

Clips of 10 s, 44.1 kHz stereo (Opus: 48 kHz), are decoded in this process (`InProcessDecoder`), or in a
decoder process (`IsolatedDecoder`), as the pipeline does it. Needs NumPy, soundfile, resampy and psutil, but
neither Beam nor TensorFlow.
"""

import os

# As in the pipeline, since threads of BLAS would wait for each other. Must be set before NumPy is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import functools
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import soundfile

from benchmarks import harness
from transforms.audio.decoder import Decoder, InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.prefetch import num_cores

# Name -> container and codec, as libsndfile calls them, and the sample rate: Opus does not have 44.1 kHz.
CODECS = {
    "wav": ("WAV", "PCM_16", 44_100),
    "flac": ("FLAC", "PCM_16", 44_100),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100),
    "vorbis": ("OGG", "VORBIS", 44_100),
    "opus": ("OGG", "OPUS", 48_000),
}
EXTRACTIONS = {"windows": Extraction(windows=True), "log_mel": Extraction()}


def encode(codec: str, number: int) -> bytes:
    container, subtype, rate_hz = CODECS[codec]
    file = io.BytesIO()
    # From int16, libsndfile makes MP3 of twice the size.
    samples = harness.tone_in_noise(number, rate_hz, 2) / 32_768
    soundfile.write(file, samples, rate_hz, subtype, format=container)
    return file.getvalue()


def codecs(*, clips: int = 20) -> dict[str, Any]:
    """Size and CPU time per clip of each codec, decoded and extracted in this process."""
    steps = {"decode": None, "extract": EXTRACTIONS["log_mel"], "windows": EXTRACTIONS["windows"]}

    def run_step(how: Extraction | None, encoded: Iterator[bytes]) -> None:
        with InProcessDecoder().open(io.BytesIO(next(encoded))) as audio:
            if not sum(map(len, audio.examples(how) if how else audio.blocks())):
                raise SystemExit("benchmarks: a clip was decoded to nothing")

    encoded = {codec: [encode(codec, number) for number in range(clips)] for codec in CODECS}
    work = {
        f"{codec} {step}": functools.partial(run_step, how, itertools.cycle(encoded[codec]))
        for codec in CODECS
        for step, how in steps.items()
    }
    times_s = harness.median_times_s(work, clips, time.process_time)
    report = {codec: {"kb": round(statistics.median(map(len, encoded[codec])) / 1e3, 1)} for codec in CODECS}
    for codec, step in itertools.product(CODECS, steps):
        report[codec][f"{step}_cpu_ms"] = round(1e3 * times_s[f"{codec} {step}"], 2)
    return {"codecs": report}


def extraction(
    *, threads: tuple[int, ...] = (1, -(-num_cores() // 2), num_cores()), clips: int = 64
) -> dict[str, Any]:
    """Clips per second by the number of threads of one process, with `clips` clips per thread.

    Each thread has a decoder process, as in the pipeline ("isolated"), or decodes and extracts itself
    ("in_threads"), and then waits for the interpreter lock of the others. Starting is not measured.
    """
    decoders: dict[str, Callable[[], Decoder]] = {"isolated": IsolatedDecoder, "in_threads": InProcessDecoder}
    with tempfile.TemporaryDirectory() as folder:
        files = harness.write_files(Path(folder), 32)
        return {
            f"{container} {kind}": {
                f"threads_{number}": {
                    name: _time_threads(itertools.cycle(paths), clips * number, how, number, decoder)
                    for name, decoder in decoders.items()
                }
                for number in sorted(set(threads))
            }
            for (container, paths), (kind, how) in itertools.product(files.items(), EXTRACTIONS.items())
        }


def _time_threads(
    paths: Iterable[Path], num_clips: int, how: Extraction, num_threads: int, decoder: Callable[[], Decoder]
) -> dict[str, float]:
    num_warm = 4 * num_threads
    with harness.file_extractor(how, num_threads, decoder) as extract:
        for number, _ in enumerate(extract(itertools.islice(paths, num_warm + num_clips)), 1):
            if number == num_warm:
                started = harness.usage_s()
        wall_s, own_cpu_s, all_cpu_s = (harness.usage_s() - started) / num_clips
    return {
        "clips_per_s": round(1 / wall_s, 1),
        "own_cpu_ms": round(1e3 * own_cpu_s, 3),
        "all_cpu_ms": round(1e3 * all_cpu_s, 3),
    }


if __name__ == "__main__":
    harness.main(codecs, extraction)
