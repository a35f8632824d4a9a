"""Examples per second on an accelerator: python benchmarks/gpu.py [--out=FILE]

Needs this folder, NumPy, and Keras with JAX or PyTorch (KERAS_BACKEND chooses). With soundfile it also
decodes, and with resampy, whose filter it reads, it knows another rate than 16 kHz. No network, no
TensorFlow, no Beam: weights, PCA parameters and audio are made from seeds. For each precision and batch
size it measures examples per second of the network alone, of the fused graph from PCM, and from files; the
share of the device's peak; how the bytes agree with those of the CPU path in float32; memory; and the time
per kernel. It prints each figure as soon as it is there, the most telling first, so a run that is cut off
still tells. Compilation and the first call are never counted. Without an accelerator it runs on the CPU,
and only the figures are missing.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax" if importlib.util.find_spec("jax") else "torch")

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_inputs import RATES_HZ, FileExtractor, embed_files, mono, repeated, sound, write_files
from benchmarks.gpu_profile import kernel_times
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.extraction import Extraction
from transforms.pcm import device_front_end, pcm_windows
from transforms.vggish.checkpoint import KERNEL_SHAPES, read_weights
from transforms.vggish.fused import FusedEmbedder, compile_forward
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
_PACKAGES = {
    "jax": ("keras", "jax", "numpy"),
    "torch": ("keras", "torch", "numpy"),
    "tensorflow": ("keras", "tensorflow", "numpy"),
}
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


class CpuCodes:
    """The clips' bytes by the CPU path in float32, from a process that sees no accelerator.

    It computes while the first graphs compile.
    """

    def __init__(self, folder: Path, weights: str, clips: Sequence[tuple[NDArray, int]]):
        self._folder = folder
        examples = [np.concatenate(list(waveform_examples([clip], rate_hz))) for clip, rate_hz in clips]
        self._ends = np.cumsum([len(own) for own in examples])[:-1]
        np.save(folder / "examples.npy", np.concatenate(examples))
        hidden = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, f"--weights={weights}", f"--embed_on_cpu={folder}"]
        self._process = subprocess.Popen(command, env=os.environ | hidden)

    def codes(self) -> list[NDArray[np.uint8]]:
        """uint8[n, 128] per clip; waits for them."""
        if self._process.wait():
            raise RuntimeError(f"embedding on the CPU ended with status {self._process.returncode}")
        codes = postprocess(np.load(self._folder / "embeddings.npy"), seeded_pca())
        return np.split(codes, self._ends)


def agreement(found: Sequence[NDArray], expected: Sequence[NDArray]) -> dict[str, float]:
    apart = np.abs(np.concatenate(found).astype(int) - np.concatenate(expected))
    return {"bytes": apart.size, "equal": float((apart == 0).mean()), "largest_difference": int(apart.max())}


def on_device(batch: NDArray) -> Any:
    """A batch in the accelerator's memory."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.block_until_ready(jax.device_put(batch))
    return keras.ops.convert_to_tensor(batch)


class Row:
    """One precision and batch size; prints each figure as soon as it is measured.

    Attributes:
      figures: what the report says of it.
    """

    def __init__(self, precision: str, batch_size: int, options: argparse.Namespace):
        self.figures: dict[str, Any] = {
            "precision": precision,
            "batch_size": batch_size,
            "examples_per_s": {},
        }
        self._options = options
        self._started_s = time.perf_counter()

    def say(self, **figures: Any) -> None:
        for name, value in figures.items():
            of = {key: self.figures[key] for key in ("precision", "batch_size")}
            line = of | {"at_s": round(time.perf_counter() - self._started_s, 1), name: value}
            print(json.dumps(line), flush=True)

    def speed(self, name: str, call: Callable[[], int]) -> None:
        value = round(examples_per_s(call, self._options.seconds), 1)
        self.figures["examples_per_s"][name] = value
        self.say(**{name: value})

    def add(self, **figures: Any) -> None:
        self.figures |= figures
        self.say(**figures)


def measure(row: Row, options: argparse.Namespace, device: str, is_first: bool) -> None:
    """Measures a row: the network on what is in the accelerator's memory, and from PCM in this machine's.

    Args:
      row: to fill.
      options: of the command line, with `files`, `clips` and `cpu`.
      device: its name.
      is_first: of its precision; then files, bytes and kernels are looked at too.
    """
    precision, batch_size = row.figures["precision"], row.figures["batch_size"]
    number = _CALL_BATCHES * batch_size
    weights = read_weights(options.weights)
    network = compile_forward(build_vggish(weights, precision), precision)
    examples = np.random.default_rng(0).uniform(-4, 4, (batch_size, 96, 64)).astype(np.float32)
    batch = on_device(examples)

    def run_network() -> int:
        results = [network(batch) for _ in range(_CALL_BATCHES)]
        for result in results:
            keras.ops.convert_to_numpy(result)
        return number

    row.speed("network", run_network)
    if peak := peak_flops(device, precision):
        per_s = row.figures["examples_per_s"]["network"] * flop_per_example()
        row.add(network_share_of_peak=round(per_s / peak, 4))
    embedder = FusedEmbedder(weights, device_front_end, True, seeded_pca(), batch_size, precision)
    kinds = dict.fromkeys([(RATES_HZ[0], 1), (RATES_HZ[-1], 2)])
    fused = {}
    for rate_hz, channels in kinds:
        clip = pcm_windows([mono(sound(0, rate_hz, channels))], rate_hz)
        windows = repeated(clip.samples, number)

        def run_fused(windows: NDArray = windows, rate_hz: int = rate_hz) -> int:
            return len(embedder.embed(windows, rate_hz)[0])

        fused[f"fused_{rate_hz}_hz_{windows.dtype}"] = run_fused
    for name, call in fused.items():
        row.speed(name, call)
    if is_first:
        found = embedder.embed_clips([pcm_windows([clip], hz) for clip, hz in options.clips])
        row.add(agreement_with_cpu=agreement(found, options.cpu.codes()))
        with FileExtractor(Extraction(windows=True), options.threads) as extractor:
            for suffix, paths in options.files.items():

                def run_files(paths: Sequence[Path] = paths) -> int:
                    return embed_files(embedder, extractor, paths, 2 * batch_size)

                row.speed(f"end_to_end_{suffix}", run_files)
        if keras.backend.backend() == "jax":
            row.add(
                kernels={name: kernel_times(call) for name, call in {"network": run_network, **fused}.items()}
            )
    row.add(peak_memory_bytes_so_far=peak_memory_bytes())


def main() -> None:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[256, 1024, 64], help="in this order")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=[BFLOAT16, FLOAT32, FLOAT16])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that decode files")
    parser.add_argument("--files", type=int, default=256, help="clips of 10 s in each format")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement, at least")
    parser.add_argument("--limit_s", type=float, default=420.0, help="begin no row later than this")
    parser.add_argument("--weights", default="random:0", help="as of pipeline.run, on this machine")
    parser.add_argument("--out", type=Path, help="where to write the results, after each row")
    parser.add_argument("--embed_on_cpu", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.embed_on_cpu:
        examples = np.load(options.embed_on_cpu / "examples.npy")
        embeddings = Embedder(read_weights(options.weights), 16).embed(examples)
        np.save(options.embed_on_cpu / "embeddings.npy", embeddings)
        return
    device = device_name()
    results = {
        "command": " ".join(["python", "benchmarks/gpu.py", *(a for a in sys.argv[1:] if "--out" not in a)]),
        "device": device,
        "backend": keras.backend.backend(),
        "versions": {"python": sys.version.split()[0]}
        | {name: version(name) for name in _PACKAGES[keras.backend.backend()]},
        "decoding_threads": options.threads,
        "cores": os.cpu_count(),
        "network_flop_per_example": flop_per_example(),
        "weights": options.weights,
        "runs": [],
    }
    print(json.dumps(results), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.clips = [
            (mono(sound(seed, hz, channels)), hz)
            for seed, (hz, channels) in enumerate(itertools.product(RATES_HZ, (1, 2)))
        ]
        options.cpu = CpuCodes(folder, options.weights, options.clips)
        options.files = write_files(folder, options.files)
        for batch_size, precision in itertools.product(options.batch_sizes, options.precisions):
            if time.perf_counter() - started > options.limit_s:
                break
            row = Row(precision, batch_size, options)
            results["runs"].append(row.figures)
            measure(row, options, device, batch_size == options.batch_sizes[0])
            if options.out:
                options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"done after {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
