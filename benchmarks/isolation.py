"""python benchmarks/isolation.py [--clips=60]: what it costs to decode and to extract in another process.

Makes 10-s clips of 44.1 kHz stereo in WAV, FLAC and MP3 and extracts their examples, as the pipeline does it
before the network, in this process and in one of their own: clip by clip in turns, on one core and on two.
Ratios are isolated over plain. Beside log-mel examples it measures windows for an accelerator, also of clips
in memory, as shards give them, and decoding alone.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from transforms.audio.decoder import Decoder, InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder

RATE_HZ = 44_100
CLIP_S = 10
FORMATS = ("WAV", "FLAC", "MP3")


def sound(number: int) -> np.ndarray:
    """A tone in noise, float64[441000, 2]."""
    rng = np.random.default_rng(number)
    times_s = np.arange(CLIP_S * RATE_HZ)[:, np.newaxis] / RATE_HZ
    return 0.25 * np.sin(2 * np.pi * rng.uniform(100, 4_000) * times_s) + 0.06 * rng.standard_normal(
        (len(times_s), 2)
    )


def extract(decoder: Decoder, file: BinaryIO) -> int:
    with decoder.open(file) as audio:
        return sum(map(len, audio.examples(Extraction())))


def windows(decoder: Decoder, file: BinaryIO) -> int:
    with decoder.open(file) as audio:
        return sum(map(len, audio.examples(Extraction(windows=True))))


def decode(decoder: Decoder, file: BinaryIO) -> int:
    with decoder.open(file) as audio:
        return sum(map(len, audio.blocks()))


def cpu_ms(isolated: IsolatedDecoder) -> float:
    """What this process and the decoder's have used of a processor."""
    own_ms = 1e3 * time.process_time()
    return own_ms + int(proc(isolated, "schedstat").split()[0]) / 1e6


def compare(work: Callable[[Decoder, BinaryIO], int], files: list[BinaryIO]) -> dict[str, dict[str, float]]:
    """Medians of wall and processor milliseconds a clip, and of the ratios, each of a clip by itself."""
    isolated = IsolatedDecoder()
    decoders = {"plain": InProcessDecoder(), "isolated": isolated}
    times_ms: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in decoders} for kind in ("wall", "cpu")
    }
    for decoder in decoders.values():
        work(decoder, files[0])  # which starts the process and compiles the resampler
    for number, file in enumerate(files):
        # Each is as often the first to touch a file as the other.
        for name in sorted(decoders, reverse=bool(number % 2)):
            used_ms, started = cpu_ms(isolated), time.perf_counter()
            work(decoders[name], file)
            times_ms["wall"][name].append(1e3 * (time.perf_counter() - started))
            times_ms["cpu"][name].append(cpu_ms(isolated) - used_ms)
    isolated.close()
    results = {}
    for kind, times in times_ms.items():
        ratios = [after / before for before, after in zip(times["plain"], times["isolated"], strict=True)]
        results[kind] = {f"{name}_ms": round(statistics.median(times[name]), 2) for name in decoders}
        results[kind]["ratio"] = round(statistics.median(ratios), 3)
    return results


def measure(folder: Path) -> dict[str, dict]:
    results: dict[str, dict] = {}
    for container in FORMATS:
        paths = sorted(folder.glob(f"*.{container}"))
        in_memory: list[BinaryIO] = [io.BytesIO(path.read_bytes()) for path in paths]
        with contextlib.ExitStack() as opened:
            plain: list[BinaryIO] = [opened.enter_context(path.open("rb")) for path in paths]
            results[container] = {
                "extract": compare(extract, plain),
                "windows": compare(windows, plain),
                "windows_in_memory": compare(windows, in_memory),
                "decode": compare(decode, plain),
            }
    return results


def proc(decoder: IsolatedDecoder, name: str) -> str:
    """What Linux tells of a decoder's process."""
    assert decoder._child is not None
    return Path(f"/proc/{decoder._child._process.pid}/{name}").read_text()


def peak_mb(path: Path) -> float:
    """The decoder process's peak resident memory after a file, in MB."""
    decoder = IsolatedDecoder()
    with path.open("rb") as file:
        extract(decoder, file)
    status = proc(decoder, "status")
    decoder.close()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1e3, 1)


def start_ms(path: Path) -> float:
    """Milliseconds until a decoder's first answer."""
    times_ms = []
    for _ in range(5):
        decoder = IsolatedDecoder()
        started = time.perf_counter()
        with path.open("rb") as file:
            decoder.duration_s(file)
        times_ms.append(1e3 * (time.perf_counter() - started))
        decoder.close()
    return round(statistics.median(times_ms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of the clips, in a pinned process
    parser.add_argument("--cores", type=int, default=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
        print(json.dumps(measure(args.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(args.clips):
            samples = sound(number)
            for container in FORMATS:
                soundfile.write(folder / f"{number:03d}.{container}", samples, RATE_HZ, format=container)
        report: dict = {
            "command": f"python benchmarks/isolation.py --clips={args.clips}",
            "versions": {"python": sys.version.split()[0]}
            | {name: version(name) for name in ("numpy", "soundfile", "resampy")},
            "load_before": round(os.getloadavg()[0], 2),
            "start_ms": start_ms(folder / "000.WAV"),
            "peak_mb": {container: peak_mb(folder / f"000.{container}") for container in FORMATS},
        }
        for cores in (1, 2):
            command = [sys.executable, __file__, f"--folder={folder}", f"--cores={cores}"]
            report[f"cores_{cores}"] = json.loads(subprocess.check_output(command))
    text = json.dumps(report, indent=2)
    print(text)
    (Path(__file__).parent / "results" / "isolation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
