"""What a clip of each codec costs before the model: OPENBLAS_NUM_THREADS=1 python benchmarks/codecs.py

Clips of 10 s, 44.1 kHz stereo (Opus 48 kHz), of a tone in noise, are decoded and mixed to mono, and then
made into log-mel examples, or cut into the windows that an accelerator's front end takes, as the pipeline
does, but in this process and not in one of the decoder's own. Prints medians of processor milliseconds a
clip as JSON, and writes them to results/codecs.json.
"""

import argparse
import io
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from transforms.audio.decode import mono_blocks, open_audio
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.dsp.windows import waveform_windows
from transforms.vggish.params import Framing

RESULTS = Path(__file__).parent / "results" / "codecs.json"
RATE_HZ = 44_100
CLIP_S = 10
# Name -> container and codec, as libsndfile calls them, and the rate: Opus has no 44.1 kHz.
CODECS = {
    "wav": ("WAV", "PCM_16", RATE_HZ),
    "flac": ("FLAC", "PCM_16", RATE_HZ),
    "mp3": ("MP3", "MPEG_LAYER_III", RATE_HZ),
    "vorbis": ("OGG", "VORBIS", RATE_HZ),
    "opus": ("OGG", "OPUS", 48_000),
}


def encode(codec: str, number: int) -> bytes:
    """A clip of a codec."""
    container, subtype, rate_hz = CODECS[codec]
    rng = np.random.default_rng(number)
    times_s = np.arange(CLIP_S * rate_hz)[:, np.newaxis] / rate_hz
    tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * times_s)
    samples = 0.25 * tone + 0.06 * rng.standard_normal((len(times_s), 2))
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype, format=container)
    return file.getvalue()


def decode(data: bytes) -> int:
    """Decodes a clip to mono; returns its samples."""
    with open_audio(io.BytesIO(data)) as stream:
        return sum(map(len, mono_blocks(stream)))


def extract(data: bytes) -> int:
    """Decodes a clip and makes its examples; returns their number."""
    with open_audio(io.BytesIO(data)) as stream:
        return sum(map(len, waveform_examples(mono_blocks(stream), stream.rate_hz, Framing())))


def cut(data: bytes) -> int:
    """Decodes a clip and cuts the windows that an accelerator's front end takes; returns their number."""
    with open_audio(io.BytesIO(data)) as stream:
        return sum(map(len, waveform_windows(mono_blocks(stream), stream.rate_hz, Framing())))


def measure(num_clips: int = 20) -> dict[str, Any]:
    """Codec -> kB and processor milliseconds a clip, the codecs in turn."""
    clips = {codec: [encode(codec, number) for number in range(num_clips)] for codec in CODECS}
    steps = {"decode": decode, "extract": extract, "windows": cut}
    times_ms: dict[str, list[float]] = {f"{codec} {step}": [] for codec in CODECS for step in steps}
    for encoded in clips.values():
        extract(encoded[0])  # which prepares the resampler
    for number in range(num_clips):
        for codec, encoded in clips.items():
            for step, work in steps.items():
                started = time.process_time()
                if not work(encoded[number]):
                    raise SystemExit(f"a clip of {codec} gave nothing")
                times_ms[f"{codec} {step}"].append(1e3 * (time.process_time() - started))
    return {
        codec: {"kb": round(statistics.median(map(len, clips[codec])) / 1e3, 1)}
        | {f"{step}_cpu_ms": round(statistics.median(times_ms[f"{codec} {step}"]), 2) for step in steps}
        for codec in CODECS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=20)
    num_clips = parser.parse_args().clips
    report = {
        "command": f"OPENBLAS_NUM_THREADS=1 python benchmarks/codecs.py --clips={num_clips}",
        "versions": {"python": sys.version.split()[0]}
        | {name: version(name) for name in ("numpy", "soundfile", "resampy")},
        "codecs": measure(num_clips),
    }
    text = json.dumps(report, indent=2)
    print(text)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
