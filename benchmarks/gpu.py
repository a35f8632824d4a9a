"""Examples per second on an accelerator: python benchmarks/gpu.py [--results=FOLDER]

Needs NumPy, and Keras with JAX or PyTorch (KERAS_BACKEND selects one), but neither TensorFlow nor Beam nor a
network connection: weights, PCA parameters and audio are random. With soundfile it also embeds files. With
resampy, whose filter it reads, it measures 44.1 kHz besides 16 kHz. It also runs on a CPU.
"""

import collections
import functools
import gzip
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.flops import network_flop, peak_tflops
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.extraction import Extraction
from transforms.pcm import PcmWindows, device_front_end, pcm_windows
from transforms.prefetch import num_cores
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.fused import FusedEmbedder, compile_forward
from transforms.vggish.model import build_vggish
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.vggish.precision import BFLOAT16, FLOAT16, FLOAT32, PRECISIONS

_CALL_BATCHES = 8
_SHOWN_KERNELS, _SHOWN_CHARACTERS = 12, 100


def device_name() -> str:
    """Return the name of the device that Keras computes on."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0])["device_name"] if devices else "cpu"


def peak_memory_bytes() -> int | None:
    """Return the peak of device memory so far; None where the backend does not report it."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return None


def seeded_pca() -> PcaParams:
    """Return random PCA parameters that, like the released ones, use the range of the bytes."""
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    return PcaParams(4 * vectors, np.zeros((128, 1)))


def cpu_features(folder: Path, weights: str, clips: Sequence[tuple[NDArray, int]]) -> NDArray[np.uint8]:
    """Return the features of clips by the CPU path in float32, uint8[n, 128].

    A new process embeds them, because this one uses the accelerator.
    """
    examples, output = folder / "examples.npy", folder / "embeddings.npy"
    np.save(examples, np.concatenate([e for clip, hz in clips for e in waveform_examples([clip], hz)]))
    hidden = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    command = harness.function_command(harness.save_embeddings, weights, FLOAT32, 16, examples, output)
    subprocess.run(command, cwd=harness.ROOT, env=os.environ | hidden, stdout=subprocess.DEVNULL, check=True)
    return postprocess(np.load(output), seeded_pca())


def agreement(features: NDArray[np.uint8], expected: NDArray[np.uint8]) -> dict[str, float]:
    """Return the number of bytes, the fraction that is equal, and the largest difference."""
    differences = np.abs(features.astype(int) - expected)
    equal, largest = float((differences == 0).mean()), int(differences.max())
    return {"bytes": differences.size, "equal": equal, "largest_difference": largest}


def kernel_times(call: Callable[[], object]) -> dict[str, Any] | None:
    """Profile one call of a compiled function that waits for its own results, with JAX.

    Returns:
      `wall_ms` from the start of the first kernel to the end of the last one; `busy_ms`, the sum of all
      kernels and copies (more than `wall_ms` if copies overlap with kernels); `kernels`, [name, calls, ms]
      of those that take longest. None if the profiler records no accelerator, for example on a CPU.
    """
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        traces = list(Path(folder).rglob("*.trace.json.gz"))
        events = json.loads(gzip.decompress(traces[0].read_bytes()))["traceEvents"] if traces else []
    devices, streams = set(), set()
    for event in events:
        match event:
            case {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}} if (
                "/device:" in name
            ):
                devices.add(pid)
            # Other lines of the trace repeat the kernels by module and by operation.
            case {"ph": "M", "name": "thread_name", "args": {"name": name}} if name.startswith("Stream"):
                streams.add((event["pid"], event["tid"]))
    total_us, calls = collections.Counter[str](), collections.Counter[str]()
    starts_us, ends_us = [], []
    for event in events:
        if event.get("ph") == "X" and event["pid"] in devices and (event["pid"], event["tid"]) in streams:
            total_us[event["name"]] += event["dur"]
            calls[event["name"]] += 1
            starts_us.append(event["ts"])
            ends_us.append(event["ts"] + event["dur"])
    if not calls:
        return None
    return {
        "wall_ms": round((max(ends_us) - min(starts_us)) / 1e3, 3),
        "busy_ms": round(total_us.total() / 1e3, 3),
        "kernels": [
            [name[:_SHOWN_CHARACTERS], calls[name], round(us / 1e3, 3)]
            for name, us in total_us.most_common(_SHOWN_KERNELS)
        ],
    }


def embed_files(embedder: FusedEmbedder, extract: harness.Extract, paths: Iterable[Path], size: int) -> int:
    """Embed files in groups of `size` or slightly more examples; return the number of examples."""

    def groups() -> Iterator[list[PcmWindows]]:
        group: list[PcmWindows] = []
        for clip in extract(paths):
            group.append(clip)
            if sum(map(len, group)) >= size:
                yield group
                group = []
        if group:
            yield group

    with ThreadPoolExecutor(2) as callers:  # one waits for its results while the device computes the other's
        return sum(sum(map(len, embedded)) for embedded in callers.map(embedder.embed_clips, groups()))


class Inputs(NamedTuple):
    """Sounds to embed: files by suffix, decoded in a number of threads, and clips, waveforms and their rates.

    `expected` waits for the features of the clips by the CPU path.
    """

    files: Mapping[str, Sequence[Path]]
    threads: int
    clips: Sequence[tuple[NDArray, int]]
    expected: Callable[[], NDArray[np.uint8]]


def measure(
    precision: str, batch_size: int, weights: str, seconds: float, inputs: Inputs | None
) -> Iterator[tuple[str, Any]]:
    """Measure the network on a batch in device memory, the fused graph on PCM in main memory, and inputs.

    Yields:
      Name and value of each figure as soon as it is known; several dictionaries are named "examples_per_s".
    """
    num_examples = _CALL_BATCHES * batch_size
    variables = read_weights(weights)
    network = compile_forward(build_vggish(variables, precision), precision)
    examples = np.random.default_rng(0).uniform(-4, 4, (batch_size, 96, 64)).astype(np.float32)
    batch = keras.ops.convert_to_tensor(examples)

    def run_network() -> int:
        results = [network(batch) for _ in range(_CALL_BATCHES)]
        for result in results:
            keras.ops.convert_to_numpy(result)
        return num_examples

    def speed(name: str, call: Callable[[], int]) -> tuple[str, dict[str, float]]:
        call()
        num_done, started = 0, time.perf_counter()
        while (passed_s := time.perf_counter() - started) < seconds:
            num_done += call()
        return "examples_per_s", {name: round(num_done / passed_s, 1)}

    _, network_speed = measured = speed("network", run_network)
    yield measured
    if peak := peak_tflops(device_name(), precision):
        yield "network_share_of_peak", round(network_speed["network"] * network_flop() / (1e12 * peak), 4)
    embedder = FusedEmbedder(variables, device_front_end, True, seeded_pca(), batch_size, precision)
    profiled: dict[str, Callable[[], object]] = {"network": run_network}
    for rate_hz, channels in dict.fromkeys([(harness.RATES_HZ[0], 1), (harness.RATES_HZ[-1], 2)]):
        windows = pcm_windows([harness.glides_and_bursts(0, rate_hz, channels)], rate_hz).samples
        windows = np.resize(windows, (num_examples, *windows.shape[1:]))
        name = f"fused_{rate_hz}_hz_{windows.dtype}"
        profiled[name] = embed = functools.partial(embedder.embed, windows, rate_hz)
        yield speed(name, lambda embed=embed: len(embed()[0]))
    if inputs:
        compared = embedder.embed_clips([pcm_windows([clip], hz) for clip, hz in inputs.clips])
        yield "agreement_with_cpu", agreement(np.concatenate(compared), inputs.expected())
        with harness.file_extractor(Extraction(windows=True), inputs.threads) as extract:
            for suffix, paths in inputs.files.items():
                call = functools.partial(embed_files, embedder, extract, paths, 2 * batch_size)
                yield speed(f"end_to_end_{suffix}", call)
        if keras.backend.backend() == "jax":
            yield "kernels", {name: kernel_times(call) for name, call in profiled.items()}
    yield "peak_memory_bytes_so_far", peak_memory_bytes()


def gpu(
    *,
    batch_sizes: tuple[int, ...] = (256, 1024, 64),
    precisions: tuple[str, ...] = (BFLOAT16, FLOAT32, FLOAT16),
    threads: int = num_cores(),
    files: int = 256,
    seconds: float = 1.5,
    limit_s: float = 420.0,
    weights: str = "random:0",
) -> dict[str, Any]:
    """Examples per second of the network alone and of the fused graph from PCM, by batch size and precision.

    Also measures the share of the device's peak and the peak memory. For the first batch size it also embeds
    --files clips of 10 s in each format, decoded in --threads threads, compares the bytes with those of the
    CPU path in float32, and with JAX profiles the time per kernel. Compilation and the first call are not
    measured. Each figure takes at least --seconds. It is printed as soon as it is known, in the order of
    the flags, so that an interrupted run still has results; no row starts after --limit_s. --weights is a
    local path.
    """
    if unknown := set(precisions) - set(PRECISIONS):
        raise SystemExit(
            f"benchmarks: --precisions: {', '.join(unknown)}: give some of {', '.join(PRECISIONS)}"
        )
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    report = {
        "device": device_name(),
        "backend": keras.backend.backend(),
        "decoding_threads": threads,
        "network_flop_per_example": network_flop(),
        "weights": weights,
    }
    print(json.dumps(report | harness.describe_machine()), flush=True)
    clips = [
        (harness.glides_and_bursts(seed, rate_hz, channels), rate_hz)
        for seed, (rate_hz, channels) in enumerate(itertools.product(harness.RATES_HZ, (1, 2)))
    ]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as executor:
        # While the first graphs are compiled.
        expected = executor.submit(cpu_features, Path(name), weights, clips)
        inputs = Inputs(harness.write_files(Path(name), files), threads, clips, expected.result)
        for batch_size, precision in itertools.product(batch_sizes, precisions):
            if time.perf_counter() - started > limit_s:
                break
            rows.append(row := {"precision": precision, "batch_size": batch_size})
            more = inputs if batch_size == batch_sizes[0] else None
            for name, value in measure(precision, batch_size, weights, seconds, more):
                at_s = round(time.perf_counter() - started, 1)
                figure = {"precision": precision, "batch_size": batch_size, "at_s": at_s, name: value}
                print(json.dumps(figure), flush=True)
                row[name] = row.get(name, {}) | value if name == "examples_per_s" else value
    return report | {"runs": rows}


if __name__ == "__main__":
    harness.main(gpu)
