"""Examples per second on an accelerator: python benchmarks/gpu.py [--out=FILE]

Needs NumPy, and Keras with JAX or PyTorch (KERAS_BACKEND selects one), but neither TensorFlow nor Beam nor a
network connection: weights, PCA parameters and audio are random. With soundfile it also embeds files. With
resampy, whose filter it reads, it measures 44.1 kHz besides 16 kHz.

For each batch size and precision it measures the examples per second of the network alone and of the fused
graph from PCM, the share of the device's peak, and the peak memory. For the first batch size it also
measures examples per second from files, compares the bytes with those of the CPU path in float32, and with
JAX profiles the time per kernel. Compilation and the first call are not measured. It prints each figure as
soon as it is known, the most important rows first, so that an interrupted run still has results. It also
runs on a CPU.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.flops import network_flop, peak_tflops
from benchmarks.gpu_inputs import RATES_HZ, embed_files, file_extractor, write_files
from benchmarks.gpu_profile import kernel_times
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.extraction import Extraction
from transforms.pcm import device_front_end, pcm_windows
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.fused import FusedEmbedder, compile_forward
from transforms.vggish.model import build_vggish
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.vggish.precision import BFLOAT16, FLOAT16, FLOAT32, PRECISIONS

_CALL_BATCHES = 8


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


def measure(
    precision: str,
    batch_size: int,
    options: argparse.Namespace,
    files: Mapping[str, Sequence[Path]],
    clips: Sequence[tuple[NDArray, int]],
    expected: Callable[[], NDArray[np.uint8]],
) -> Iterator[tuple[str, Any]]:
    """Measure the network on a batch in device memory, and the fused graph on PCM in main memory.

    For the first batch size only, it embeds `files` by suffix, and compares the bytes of `clips`, waveforms
    and their rates, with the `expected` ones, which the function waits for.

    Yields:
      Name and value of each figure as soon as it is known; several dictionaries are named "examples_per_s".
    """
    num_examples = _CALL_BATCHES * batch_size
    weights = read_weights(options.weights)
    network = compile_forward(build_vggish(weights, precision), precision)
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
        while (passed_s := time.perf_counter() - started) < options.seconds:
            num_done += call()
        return "examples_per_s", {name: round(num_done / passed_s, 1)}

    _, network_speed = measured = speed("network", run_network)
    yield measured
    if peak := peak_tflops(device_name(), precision):
        yield "network_share_of_peak", round(network_speed["network"] * network_flop() / (1e12 * peak), 4)
    embedder = FusedEmbedder(weights, device_front_end, True, seeded_pca(), batch_size, precision)
    profiled: dict[str, Callable[[], object]] = {"network": run_network}
    for rate_hz, channels in dict.fromkeys([(RATES_HZ[0], 1), (RATES_HZ[-1], 2)]):
        windows = pcm_windows([harness.glides_and_bursts(0, rate_hz, channels)], rate_hz).samples
        windows = np.resize(windows, (num_examples, *windows.shape[1:]))
        name, embed = (
            f"fused_{rate_hz}_hz_{windows.dtype}",
            functools.partial(embedder.embed, windows, rate_hz),
        )
        profiled[name] = embed
        yield speed(name, lambda embed=embed: len(embed()[0]))
    if batch_size == options.batch_sizes[0]:
        compared = embedder.embed_clips([pcm_windows([clip], hz) for clip, hz in clips])
        yield "agreement_with_cpu", agreement(np.concatenate(compared), expected())
        with file_extractor(Extraction(windows=True), options.threads) as extract:
            for suffix, paths in files.items():
                call = functools.partial(embed_files, embedder, extract, paths, 2 * batch_size)
                yield speed(f"end_to_end_{suffix}", call)
        if keras.backend.backend() == "jax":
            yield "kernels", {name: kernel_times(call) for name, call in profiled.items()}
    yield "peak_memory_bytes_so_far", peak_memory_bytes()


def main() -> None:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[256, 1024, 64], help="in this order")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=[BFLOAT16, FLOAT32, FLOAT16])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of threads that decode")
    parser.add_argument("--files", type=int, default=256, help="number of clips of 10 s in each format")
    parser.add_argument("--seconds", type=float, default=1.5, help="minimum duration of each measurement")
    parser.add_argument("--limit_s", type=float, default=420.0, help="start no row later than this")
    parser.add_argument("--weights", default="random:0", help="as for pipeline.run, a local path")
    parser.add_argument("--out", type=Path, help="JSON file, written after each row")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    results = {
        "command": " ".join(["python", "benchmarks/gpu.py", *(a for a in sys.argv[1:] if "--out" not in a)]),
        "device": device_name(),
        "backend": keras.backend.backend(),
        **harness.describe_machine(),
        "decoding_threads": options.threads,
        "network_flop_per_example": network_flop(),
        "weights": options.weights,
        "runs": rows,
    }
    print(json.dumps(results), flush=True)
    clips = [
        (harness.glides_and_bursts(seed, rate_hz, channels), rate_hz)
        for seed, (rate_hz, channels) in enumerate(itertools.product(RATES_HZ, (1, 2)))
    ]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as executor:
        # While the first graphs are compiled.
        expected = executor.submit(cpu_features, Path(name), options.weights, clips)
        files = write_files(Path(name), options.files)
        for batch_size, precision in itertools.product(options.batch_sizes, options.precisions):
            if time.perf_counter() - started > options.limit_s:
                break
            rows.append(row := {"precision": precision, "batch_size": batch_size})
            for name, value in measure(precision, batch_size, options, files, clips, expected.result):
                row[name] = row.get(name, {}) | value if name == "examples_per_s" else value
                figure = {"at_s": round(time.perf_counter() - started, 1), name: value}
                print(json.dumps({"precision": precision, "batch_size": batch_size, **figure}), flush=True)
            if options.out:
                options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"done after {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
