"""python benchmarks/model.py [--rounds=7] [--audio=GLOB --weights=PATH --pca_params=PATH]: the model on CPU.

Examples a second by precision, batch size and way of calling; with and without oneDNN, its math mode and XLA;
peak memory; one and two processes at once with all cores and with their share of them; and, with --audio,
the bytes that each precision changes. What an environment decides has a process of its own; all processes
wait for each other and work in turns, so that what else the machine does falls on all of them. Ratios are of
examples a second to float32 in batches of 32 in the same round.
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from transforms.audio.decode import SpanReader, mono_blocks, open_audio
from transforms.audio.dsp.resample import RESAMPY, SOXR, Resampler
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.vggish.postprocess import postprocess, read_pca_params
from transforms.vggish.precision import BFLOAT16, FLOAT16, FLOAT32, PRECISIONS

BATCH_SIZES = (8, 16, 32, 64, 128)
BASE = f"{FLOAT32} batch 32"
# At least so many examples are timed at once.
EXAMPLES = 64
WORKER = Path(__file__).with_name("embedding_worker.py")
CORES = len(os.sched_getaffinity(0))
# name -> environment
PROCESSES: dict[str, dict[str, str]] = {
    "default": {},
    "float16": {},  # for which Embedder changes a setting of the process
    "fused float16": {},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "oneDNN's BF16 math mode": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
}
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")


def variants() -> dict[str, tuple[str, str, str, int]]:
    """Name -> process, precision, way of calling, batch size."""
    found = {}
    for size in BATCH_SIZES:
        for precision in (FLOAT32, BFLOAT16):
            found[f"{precision} batch {size}"] = ("default", precision, "keras", size)
        found[f"{FLOAT16} batch {size}"] = ("float16", FLOAT16, "keras", size)
    for precision in (FLOAT32, BFLOAT16):
        for call in ("function", "xla"):
            found[f"{precision} batch 32 {call}"] = ("default", precision, call, 32)
    for precision in PRECISIONS:
        found[f"{precision} batch 32 without oneDNN"] = ("without oneDNN", precision, "keras", 32)
    name = "oneDNN's BF16 math mode"
    found[f"{FLOAT32} batch 32 {name}"] = (name, FLOAT32, "keras", 32)
    return found


class Worker:
    """A process that embeds when it is told to.

    Args:
      weights: as `checkpoint.read_weights` takes.
      environment: what its environment has beyond this one's.
    """

    def __init__(self, weights: str, environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), weights],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def begin(self, **task: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"at_least": EXAMPLES, **task}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, float]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def run(self, **task: Any) -> dict[str, float]:
        self.begin(**task)
        return self.end()


def summary(rounds: Sequence[Mapping[str, Mapping[str, float]]], base: str) -> dict[str, dict[str, float]]:
    """Medians of examples a second, of processor milliseconds an example, and of ratios to `base`."""
    results = {}
    for name in rounds[0]:
        rates = [took[name]["examples"] / took[name]["wall_s"] for took in rounds]
        cpu_ms = [1e3 * took[name]["cpu_s"] / took[name]["examples"] for took in rounds]
        bases = [took[base]["examples"] / took[base]["wall_s"] for took in rounds]
        cpu_bases = [1e3 * took[base]["cpu_s"] / took[base]["examples"] for took in rounds]
        results[name] = {
            "examples_per_s": round(statistics.median(rates), 1),
            "cpu_ms_per_example": round(statistics.median(cpu_ms), 2),
            "ratio": round(statistics.median(r / b for r, b in zip(rates, bases, strict=True)), 3),
            "cpu_ratio": round(statistics.median(c / b for c, b in zip(cpu_ms, cpu_bases, strict=True)), 3),
        }
    return results


def measure_speed(weights: str, num_rounds: int) -> dict[str, Any]:
    """Every variant once a round, after a call that is not timed."""
    rounds: list[dict] = []
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(weights, environment)) for name, environment in PROCESSES.items()
        }
        for number in range(num_rounds + 1):
            took = {}
            for name, (process, precision, call, size) in variants().items():
                took[name] = workers[process].run(precision=precision, call=call, size=size)
            rounds += [took] if number else []
        slow = {"precision": FLOAT16, "size": 4, "repeat": 1}
        fused = workers["fused float16"].run(**slow, fused=True)
        apart = workers["float16"].run(**slow)
    return {
        "variants": summary(rounds, BASE),
        "float16_four_examples_s": {"fused": round(fused["wall_s"], 2), "apart": round(apart["wall_s"], 3)},
    }


def measure_memory() -> dict[str, dict[str, float]]:
    """Resident memory in GB of a process that embeds one way only, its weights not from a file."""
    found = {}
    for size in BATCH_SIZES:
        for precision in PRECISIONS if size == 32 else (FLOAT32,):
            with Worker("random:0", {}) as worker:
                took = worker.run(precision=precision, size=size)
            kinds = ("resident_gb", "peak_gb")
            found[f"{precision} batch {size}"] = {kind: round(took[kind], 3) for kind in kinds}
    return found


def measure_threads(weights: str, num_rounds: int) -> dict[str, dict[str, float]]:
    """One process, and as many as there are cores at once; with all cores each, or their share of them."""
    share = {"TF_NUM_INTRAOP_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    rounds: list[dict] = []
    with ExitStack() as stack:
        kinds = {
            name: [stack.enter_context(Worker(weights, environment)) for _ in range(CORES)]
            for name, environment in (("all cores", {}), ("one core", share))
        }
        for number in range(num_rounds + 1):
            took = {}
            for count in (1, CORES):
                for name, workers in kinds.items():
                    started = time.perf_counter()
                    for worker in workers[:count]:
                        worker.begin(precision=FLOAT32, size=32, repeat=4)
                    ends = [worker.end() for worker in workers[:count]]
                    took[f"{count} x {name}"] = {
                        "wall_s": time.perf_counter() - started,
                        "cpu_s": sum(end["cpu_s"] for end in ends),
                        "examples": sum(end["examples"] for end in ends),
                    }
            rounds += [took] if number else []
    return summary(rounds, f"{CORES} x all cores")


def measure_bytes(weights: str, audio: Sequence[str], pca_params: str | None) -> dict[str, Any]:
    """How far the bytes of each precision, and of the other resampler, are from the default's."""
    examples: dict[Resampler, list[np.ndarray]] = {RESAMPY: [], SOXR: []}
    for path in audio:
        for resampler, found in examples.items():
            with open(path, "rb") as file, open_audio(file) as stream:
                blocks = SpanReader(mono_blocks(stream)).take()
                found += waveform_examples(blocks, stream.rate_hz, resampler=resampler)
    pca = None
    if pca_params:
        with open(pca_params, "rb") as file:
            pca = read_pca_params(file, pca_params)
    embeddings = {}
    with tempfile.TemporaryDirectory() as folder:
        for resampler, found in examples.items():
            np.save(f"{folder}/{resampler}.npy", np.concatenate(found))
        for name, resampler, precision in (
            *((precision, RESAMPY, precision) for precision in PRECISIONS),
            (SOXR, SOXR, FLOAT32),
        ):
            with Worker(weights, {}) as worker:
                files = {"examples": f"{folder}/{resampler}.npy", "output": f"{folder}/output-{name}.npy"}
                worker.run(precision=precision, size=32, **files)
            embeddings[name] = np.load(f"{folder}/output-{name}.npy")
    results: dict[str, Any] = {"recordings": len(audio), "bytes": embeddings[FLOAT32].size}
    codes = {name: postprocess(found, pca).astype(int) for name, found in embeddings.items()}
    for name in (*PRECISIONS[1:], SOXR):
        apart = np.abs(codes[name] - codes[FLOAT32])
        results[name] = {
            "fraction": round(float((apart > 0).mean()), 4),
            "mean": round(float(apart.mean()), 4),
            "worst": int(apart.max()),
            "embedding_worst": round(float(np.abs(embeddings[name] - embeddings[FLOAT32]).max()), 5),
        }
    return results


def machine() -> str:
    """Cores, features that the kernels use, and memory."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{CORES} cores, {' '.join(f for f in FEATURES if f in flags)}, {gb:.0f} GB"


def measure(
    rounds: int = 7, weights: str = "random:0", audio: Sequence[str] = (), pca_params: str | None = None
) -> dict[str, Any]:
    """All of it.

    Args:
      rounds: how often each variant is timed.
      weights: as `checkpoint.read_weights` takes.
      audio: paths of recordings, for the bytes that a precision changes; none leaves that out.
      pca_params: path of an .npz, None quantizes without PCA.
    """
    report: dict[str, Any] = {
        "command": f"python benchmarks/model.py --rounds={rounds}"
        + (" --audio=GLOB --weights=PATH --pca_params=PATH" if audio else ""),
        "machine": machine(),
        "versions": {"python": sys.version.split()[0]}
        | {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "load_before": round(os.getloadavg()[0], 2),
        **measure_speed(weights, rounds),
        "memory": measure_memory(),
        "processes": measure_threads(weights, rounds),
    }
    if audio:
        report["changed_bytes"] = measure_bytes(weights, audio, pca_params)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--audio")
    parser.add_argument("--pca_params")
    args = parser.parse_args()
    audio = sorted(glob.glob(args.audio)) if args.audio else []
    text = json.dumps(measure(args.rounds, args.weights, audio, args.pca_params), indent=2)
    print(text)
    (Path(__file__).parent / "results" / "model.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
