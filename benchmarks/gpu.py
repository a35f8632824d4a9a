"""Examples a second on an accelerator: python benchmarks/gpu.py [--out=FILE]

Needs this folder, NumPy, and Keras with JAX or PyTorch (KERAS_BACKEND chooses); with soundfile it decodes
too, and with resampy, whose filter is read, it knows another rate than 16 kHz. No network, no TensorFlow, no
Beam: weights, PCA parameters and audio are made from seeds. Prints JSON: for each precision and batch size
examples a second of the network alone (log-mel in), of the fused graph from PCM, and from files; its
share of the device's peak; memory; and how the bytes agree with those of the CPU path in float32. Without an
accelerator it runs on the CPU, and only the figures are missing.
"""

import argparse
import collections
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

import keras
import numpy as np
from numpy.typing import NDArray

from transforms.audio.front_end import waveform_examples
from transforms.pcm import PcmWindows, device_front_end, joined, pcm_windows
from transforms.vggish.batches import FixedBatches
from transforms.vggish.checkpoint import KERNEL_SHAPES, read_weights
from transforms.vggish.fused import FusedEmbedder, compiled
from transforms.vggish.model import Embedder, build_vggish
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.vggish.precision import BFLOAT16, FLOAT16, FLOAT32, PRECISIONS

# Dense TFLOP/s of products in (bfloat16 or float16, float32 without TF32), from NVIDIA's data sheets of each
# product; what they give with sparsity is halved. The first name that a device's name contains counts.
PEAK_TFLOPS = {
    "H100 PCIe": (756, 51),
    "H100 NVL": (835, 60),
    "H100": (989, 67),
    "H200": (989, 67),
    "A100": (312, 19.5),
    "L40S": (362, 91.6),
    "L4": (121, 30.3),
    "T4": (65, 8.1),
}
# Height and width of what each convolution of the network works on.
_CONV_SIZES = {"conv1": 96 * 64, "conv2": 48 * 32, "conv3": 24 * 16, "conv4": 12 * 8}
RATES_HZ = (16_000, 44_100) if importlib.util.find_spec("resampy") else (16_000,)
_CLIP_S = 10.0
_CALL_BATCHES = 8


def flop_per_example() -> int:
    """Multiplications and additions of the network: 1.73e9."""
    sizes = {scope: _CONV_SIZES.get(scope.split("/")[1], 1) for scope in KERNEL_SHAPES}
    return 2 * sum(int(np.prod(shape)) * sizes[scope] for scope, shape in KERNEL_SHAPES.items())


def device_name() -> str:
    """The device that Keras computes on, as its backend calls it."""
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
    """The most that the process had on the device so far; None where nobody tells."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return None


def peak_flops(device: str, precision: str) -> float | None:
    """Operations a second; None of a device that the table lacks."""
    for name, (halves, single) in PEAK_TFLOPS.items():
        if name in device:
            return 1e12 * (single if precision == FLOAT32 else halves)
    return None


def sound(seed: int, rate_hz: int, channels: int) -> NDArray[np.int16]:
    """A clip of gliding tones and bursts of noise, int16[samples, channels]."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(_CLIP_S * rate_hz))[:, np.newaxis] / rate_hz
    phases = rng.uniform(0, 6, (2, 1, channels)) + times_s * rng.uniform(500, 20_000, (2, 1, channels))
    tones = np.sin(phases[0]) + np.sin(phases[1] * (1 + 0.02 * times_s))
    bursts = rng.standard_normal(tones.shape) * np.exp(-8 * (times_s * rng.uniform(0.5, 3) % 1.0))
    return np.round(4_000 * tones + 6_000 * bursts).clip(-32_768, 32_767).astype(np.int16)


def mono(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    return samples.mean(axis=1) / 32_768


def seeded_pca() -> PcaParams:
    """Rotates, and spreads values over the range of the codes, as the released parameters do."""
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    return PcaParams(4 * vectors, np.zeros((128, 1)))


def examples_per_s(call: Callable[[], int], seconds: float) -> float:
    """Repeats a call, which returns how many examples it did, for a time; the first one is not counted."""
    call()
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        done += call()
    return done / passed


def repeated(windows: NDArray, number: int) -> NDArray:
    return np.concatenate([windows] * -(-number // len(windows)))[:number]


def files_windows(paths: Iterable[Path], num_threads: int) -> Iterator[PcmWindows]:
    """Decodes files in threads, a few ahead."""
    from transforms.audio.decode import Cutter, mono_blocks, open_audio

    def decode(path: Path) -> PcmWindows:
        with open(path, "rb") as file, open_audio(file) as stream:
            return joined(list(pcm_windows(Cutter(mono_blocks(stream)).take(), stream.rate_hz)))

    waiting: collections.deque[Future[PcmWindows]] = collections.deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for path in paths:
            waiting.append(pool.submit(decode, path))
            if len(waiting) > 4 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def embed_files(embedder: FusedEmbedder, paths: Iterable[Path], num_threads: int, size: int) -> int:
    """Decodes and embeds files, `size` examples or a few more at a time; returns how many examples."""
    gathered: list[PcmWindows] = []
    done = 0
    with ThreadPoolExecutor(2) as callers:  # while one waits for its results, the other's are computed
        calls: collections.deque[Future] = collections.deque()
        for clip in itertools.chain(files_windows(paths, num_threads), [None]):
            if clip is not None:
                gathered.append(clip)
                done += len(clip)
            if gathered and (clip is None or sum(map(len, gathered)) >= size):
                calls.append(callers.submit(embedder.embed_clips, gathered))
                gathered = []
            while len(calls) > (0 if clip is None else 2):
                calls.popleft().result()
    return done


def write_files(folder: Path, num_files: int) -> dict[str, list[Path]]:
    """Stereo clips at the highest rate in each format; none without soundfile."""
    if importlib.util.find_spec("soundfile") is None:
        return {}
    import soundfile

    paths: dict[str, list[Path]] = {"wav": [], "flac": []}
    for number in range(num_files):
        samples = sound(number, RATES_HZ[-1], 2)
        for suffix, of_format in paths.items():
            of_format.append(folder / f"{number}.{suffix}")
            soundfile.write(of_format[-1], samples, RATES_HZ[-1], subtype="PCM_16")
    return paths


def cpu_codes(folder: Path, weights: str, clips: Sequence[tuple[NDArray, int]]) -> list[NDArray[np.uint8]]:
    """The clips' bytes by the CPU path in float32, from a process that sees no accelerator."""
    examples = [np.concatenate(list(waveform_examples([clip], rate_hz))) for clip, rate_hz in clips]
    np.save(folder / "examples.npy", np.concatenate(examples))
    hidden = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    flags = [f"--weights={weights}", f"--embed_on_cpu={folder}"]
    subprocess.run([sys.executable, __file__, *flags], env=os.environ | hidden, check=True)
    codes = postprocess(np.load(folder / "embeddings.npy"), seeded_pca())
    return np.split(codes, np.cumsum([len(own) for own in examples])[:-1])


def agreement(found: Sequence[NDArray], expected: Sequence[NDArray]) -> dict[str, float]:
    apart = np.abs(np.concatenate(found).astype(int) - np.concatenate(expected))
    return {"bytes": apart.size, "equal": float((apart == 0).mean()), "largest_difference": int(apart.max())}


def measure(precision: str, batch_size: int, options: argparse.Namespace, device: str) -> dict[str, Any]:
    """Examples a second of the network and of the fused graphs, with inputs from this machine's memory."""
    number = _CALL_BATCHES * batch_size
    weights = read_weights(options.weights)
    network = compiled(build_vggish(weights, precision), precision)
    batches = FixedBatches(batch_size)
    examples = np.random.default_rng(0).uniform(-4, 4, (number, 96, 64)).astype(np.float32)

    def run_network() -> int:
        return len(batches.run(lambda batch: [network(batch)], examples)[0])

    speed = {"network": examples_per_s(run_network, options.seconds)}
    embedder = FusedEmbedder(weights, device_front_end, True, seeded_pca(), batch_size, precision)
    for rate_hz in RATES_HZ:
        for kind, channels in (("int16", 1), ("float32", 2)):
            clip = joined(list(pcm_windows([mono(sound(0, rate_hz, channels))], rate_hz)))
            windows = repeated(clip.samples, number)
            assert windows.dtype == kind

            def run_fused(windows: NDArray = windows, rate_hz: int = rate_hz) -> int:
                return len(embedder.embed(windows, rate_hz)[0])

            speed[f"fused_{rate_hz}_hz_{kind}"] = examples_per_s(run_fused, options.seconds)
    for suffix, paths in options.files.items():
        speed[f"end_to_end_{suffix}"] = examples_per_s(
            lambda paths=paths: embed_files(embedder, paths, options.threads, 2 * batch_size), options.seconds
        )
    peak = peak_flops(device, precision)
    found = embedder.embed_clips([joined(list(pcm_windows([clip], hz))) for clip, hz in options.clips])
    return {
        "precision": precision,
        "batch_size": batch_size,
        "examples_per_s": {name: round(value, 1) for name, value in speed.items()},
        "network_share_of_peak": peak and round(speed["network"] * flop_per_example() / peak, 4),
        "agreement_with_cpu": agreement(found, options.expected),
        "peak_memory_bytes_so_far": peak_memory_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=[FLOAT32, BFLOAT16, FLOAT16])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that decode files")
    parser.add_argument("--files", type=int, default=64, help="clips of 10 s in each format")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, at least")
    parser.add_argument("--weights", default="random:0", help="as of pipeline.run, on this machine")
    parser.add_argument("--out", type=Path, help="where to write the results too")
    parser.add_argument("--embed_on_cpu", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.embed_on_cpu:
        examples = np.load(options.embed_on_cpu / "examples.npy")
        embeddings = Embedder(read_weights(options.weights), 16).embed(examples)
        np.save(options.embed_on_cpu / "embeddings.npy", embeddings)
        return
    device = device_name()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.files = write_files(folder, options.files)
        kinds = itertools.product(RATES_HZ, (1, 2))
        options.clips = [(mono(sound(seed, hz, channels)), hz) for seed, (hz, channels) in enumerate(kinds)]
        options.expected = cpu_codes(folder, options.weights, options.clips)
        runs = [
            measure(precision, batch_size, options, device)
            for precision in options.precisions
            for batch_size in sorted(options.batch_sizes)
        ]
    results = {
        "device": device,
        "backend": keras.backend.backend(),
        "decoding_threads": options.threads,
        "cores": os.cpu_count(),
        "network_flop_per_example": flop_per_example(),
        "weights": options.weights,
        "runs": runs,
    }
    text = json.dumps(results, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
