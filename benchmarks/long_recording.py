"""python benchmarks/long_recording.py [--hours=10]: one long FLAC against the same audio in short clips.

Makes a 44.1 kHz stereo FLAC, and a tenth of it as clips of 10 s, embeds both with `pipeline.run` (random
weights, FnApiRunner, each in a process of its own) and prints peak memory and seconds of audio a second.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile

RATE_HZ = 44_100
CLIP_S = 10


def block(number: int) -> np.ndarray:
    """Ten seconds of a tone in noise, int16[441000, 2]."""
    rng = np.random.default_rng(number)
    times_s = np.arange(CLIP_S * RATE_HZ)[:, np.newaxis] / RATE_HZ
    tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * times_s)
    return (8_000 * tone + 2_000 * rng.standard_normal((len(times_s), 2))).astype(np.int16)


def write(path: Path, first: int, num_blocks: int) -> None:
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, "PCM_16", format="FLAC") as file:
        for number in range(first, first + num_blocks):
            file.write(block(number))


def embed(audio: Path, output: Path, seconds: float) -> dict[str, float]:
    """Runs the pipeline; wall time, and peak resident memory in GB of its process and of the decoder's."""
    flags = ["--runner=FnApiRunner", "--weights=random:0", "--pca_params=none"]
    command = [sys.executable, "-m", "pipeline.run", f"--input={audio}", f"--output={output}", *flags]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    decoder_bytes = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                decoder_bytes = max(decoder_bytes, child.memory_info().rss)
        time.sleep(0.1)
    _, status, usage = ended
    if status:
        raise SystemExit(f"pipeline.run failed on {audio}")
    wall_s = time.monotonic() - started
    return {
        "audio_s": seconds,
        "wall_s": round(wall_s, 1),
        "peak_gb": round(usage.ru_maxrss / 1e6 + decoder_bytes / 1e9, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=10.0)
    hours = parser.parse_args().hours
    num_blocks = round(hours * 3600 / CLIP_S)
    num_clips = max(num_blocks // 10, 120)
    with tempfile.TemporaryDirectory() as folder:
        long, clips = Path(folder, "long.flac"), Path(folder, "clips")
        write(long, 0, num_blocks)
        clips.mkdir()
        for number in range(num_clips):
            write(clips / f"{number:04d}.flac", number, 1)
        warm = embed(clips / "0000.flac", Path(folder, "out_one"), CLIP_S)
        short = embed(clips / "*", Path(folder, "out_clips"), num_clips * CLIP_S)
        whole = embed(long, Path(folder, "out_long"), num_blocks * CLIP_S)
    start_s = warm["wall_s"]
    for result in (short, whole):
        result["times_real_time"] = round(result["audio_s"] / max(result["wall_s"] - start_s, 1e-9), 1)
    ratio = whole["times_real_time"] / short["times_real_time"]
    report = {"start_s": start_s, "clips": short, "long": whole, "speed_ratio": round(ratio, 3)}
    text = json.dumps(report, indent=2)
    print(text)
    (Path(__file__).parent / "results" / "long_recording.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
