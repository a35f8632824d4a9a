"""Clips per second before the model, by threads: python benchmarks/extraction.py [--threads 1 4 16]

Clips of 10 s, 44.1 kHz stereo, as WAV and FLAC, become windows for an accelerator's front end, or log-mel
examples, in threads of one process as in the pipeline: with decoders in processes of their own, and for
comparison with decoders in the threads themselves, which wait for each other's hold of the interpreter.
Beside them as many whole processes, which share nothing. Needs NumPy, soundfile, resampy and psutil; no
Beam, no TensorFlow. Writes JSON: clips per second, and milliseconds of one core per clip, this process's own
and with its decoders'. All is measured once the decoders have started.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in the pipeline: BLAS's own threads would wait for each other

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.gpu_inputs import FileExtractor, write_files
from benchmarks.machine import RESULTS, describe
from transforms.audio.decoder import Decoder, InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.prefetch import num_cores

EXTRACTIONS = {"windows": Extraction(windows=True), "log_mel": Extraction()}
DECODERS: dict[str, Callable[[], Decoder]] = {"isolated": IsolatedDecoder, "in_threads": InProcessDecoder}


def usage() -> NDArray[np.float64]:
    """Seconds: of the clock, of a processor for this process, and for its children beside it."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children())]
    own_s, *children_s = (each.user + each.system for each in times)
    return np.array([time.perf_counter(), own_s, own_s + sum(children_s)])


def in_threads(
    paths: list[Path], num_clips: int, extraction: Extraction, threads: int, decoder: Callable[[], Decoder]
) -> dict[str, float]:
    warm = 4 * threads
    clips = itertools.islice(itertools.cycle(paths), warm + num_clips)
    with FileExtractor(extraction, threads, decoder) as extractor:
        for number, _ in enumerate(extractor.examples(clips), 1):
            if number == warm:
                started = usage()
            elif number == warm + num_clips:
                wall_s, own_s, all_s = (usage() - started) / num_clips
    return {
        "clips_per_s": round(1 / wall_s, 1),
        "own_cpu_ms": round(1e3 * own_s, 3),
        "all_cpu_ms": round(1e3 * all_s, 3),
    }


def in_process(arguments: tuple[list[Path], Extraction]) -> int:
    paths, extraction = arguments
    with FileExtractor(extraction, 1, InProcessDecoder) as extractor:
        return sum(map(len, extractor.examples(paths)))


def in_processes(
    paths: list[Path], num_clips: int, extraction: Extraction, processes: int
) -> dict[str, float]:
    """The same in whole processes."""
    parts = [[path] * 4 for path in itertools.islice(itertools.cycle(paths), -(-num_clips // 4))]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        list(pool.imap(in_process, [(part, extraction) for part in parts[: 4 * processes]], 1))
        started = time.perf_counter()
        list(pool.imap(in_process, [(part, extraction) for part in parts], 1))
        return {"clips_per_s": round(4 * len(parts) / (time.perf_counter() - started), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, max(num_cores() // 2, 1), num_cores()})
    )
    parser.add_argument("--clips", type=int, default=64, help="per thread")
    parser.add_argument("--out", type=Path, default=RESULTS / "extraction.json")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "command": f"python benchmarks/extraction.py --clips {options.clips} --threads "
        + " ".join(map(str, options.threads)),
    } | describe("numpy", "soundfile", "resampy")
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), 32)
        for (container, paths), (kind, extraction) in itertools.product(files.items(), EXTRACTIONS.items()):
            found = report[f"{container} {kind}"] = {}
            for threads in options.threads:
                clips = options.clips * threads
                of_threads = found[f"threads_{threads}"] = {
                    name: in_threads(paths, clips, extraction, threads, decoder)
                    for name, decoder in DECODERS.items()
                }
                of_threads["processes"] = in_processes(paths, clips, extraction, threads)
                print(container, kind, threads, json.dumps(of_threads), flush=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
