"""Shared parts of the benchmarks: sounds, corpora, extraction, processes, timing, command line and results.

A benchmark is a function. Its keyword parameters become flags, and `main` writes the dictionary that it
returns to results/NAME.json, with the command, the machine and the versions. This module needs neither Beam
nor TensorFlow, because benchmarks/gpu.py runs without them. It needs soundfile to write corpora and psutil to
measure other processes.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import json
import os
import platform
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decoder import Decoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.pcm import PcmWindows, as_examples
from transforms.prefetch import OrderedPrefetcher, num_cores
from transforms.vggish.checkpoint import read_weights

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CLIP_S = 10
EXAMPLES_PER_CLIP = 10
RATES_HZ = (16_000, 44_100) if importlib.util.find_spec("resampy") else (16_000,)
Examples = NDArray | PcmWindows
Extract = Callable[[Iterable[Path]], Iterator[Examples]]
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16")
_PACKAGES = ("apache-beam", "keras", "tensorflow", "jax", "torch", "numpy", "resampy", "soundfile", "soxr")
# The first two characters of an AudioSet ID select its shard of features.
_PREFIXES = list(map("".join, itertools.product(string.ascii_letters + string.digits + "-_", repeat=2)))
_DISTINCT_CLIPS = 64
# The same bounds as in `transforms.extract_examples`, which this module cannot import: it needs Beam.
_MAX_AHEAD, _MAX_AHEAD_BYTES = 64, 1 << 26
_TURN_S = 0.02
_POLL_S = 0.2


# --- Sounds and corpora


def tone_in_noise(seed: int, rate_hz: int, channels: int, seconds: int = CLIP_S) -> NDArray[np.int16]:
    """Return a steady tone in white noise, int16[samples, channels]."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(seconds * rate_hz)[:, np.newaxis] / rate_hz
    tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * times_s)
    return (8_000 * tone + 2_000 * rng.standard_normal((len(times_s), channels))).astype(np.int16)


def glides_and_bursts(seed: int, rate_hz: int, channels: int) -> NDArray[np.float64]:
    """Return a mono mix of 16-bit channels of gliding tones and bursts of noise, float64[samples], scale 1.0.

    Features are compared on it: its loud and quiet passages and bands use more of the network's range than a
    steady sound does.
    """
    rng = np.random.default_rng(seed)
    times_s = np.arange(CLIP_S * rate_hz)[:, np.newaxis] / rate_hz
    phases = rng.uniform(0, 6, (2, 1, channels)) + times_s * rng.uniform(500, 20_000, (2, 1, channels))
    tones = np.sin(phases[0]) + np.sin(phases[1] * (1 + 0.02 * times_s))
    bursts = rng.standard_normal(tones.shape) * np.exp(-8 * (times_s * rng.uniform(0.5, 3) % 1.0))
    pcm = np.round(4_000 * tones + 6_000 * bursts).clip(-32_768, 32_767)
    return pcm.mean(axis=1) / 32_768


def make_corpus(
    folder: Path,
    num_clips: int,
    suffix: str = "wav",
    rate_hz: int = 16_000,
    channels: int = 1,
    seconds: int = CLIP_S,
    clips_per_shard: int = 1,
) -> list[Path]:
    """Write 16-bit WAV or FLAC clips into a new folder; all but the first 64 are hard links to these.

    `clips_per_shard` clips have IDs that start with the same two characters, and so go to one shard of
    features. There are 4,096 such prefixes; larger corpora use each of them for more clips.
    """
    import soundfile

    folder.mkdir(parents=True)
    prefixes = _PREFIXES[: max(1, num_clips // clips_per_shard)]
    paths: list[Path] = []
    for number in range(num_clips):
        paths.append(folder / f"{prefixes[number % len(prefixes)]}{number:09d}.{suffix}")
        if number < _DISTINCT_CLIPS:
            samples = tone_in_noise(number, rate_hz, channels, seconds)
            soundfile.write(paths[-1], samples, rate_hz, "PCM_16")
        else:
            os.link(paths[number % _DISTINCT_CLIPS], paths[-1])
    return paths


def write_files(folder: Path, num_files: int) -> dict[str, list[Path]]:
    """Write stereo clips at the highest rate; return their paths by suffix, none without soundfile."""
    suffixes = ("wav", "flac") if importlib.util.find_spec("soundfile") else ()
    return {suffix: make_corpus(folder / suffix, num_files, suffix, RATES_HZ[-1], 2) for suffix in suffixes}


# --- Extraction


@contextlib.contextmanager
def file_extractor(
    extraction: Extraction, num_threads: int, make_decoder: Callable[[], Decoder] = IsolatedDecoder
) -> Iterator[Extract]:
    """Yield a function that extracts the examples of files as the pipeline does.

    It extracts in threads, each with its own decoder, a bounded number of files ahead of the caller, and
    yields the arrays of examples in the order of the files. The decoders stay alive between calls.
    """

    def extract(path: Path, decoder: Decoder) -> Iterator[Examples]:
        with open(path, "rb") as file, decoder.open(file) as audio:
            for array in audio.examples(extraction):
                yield as_examples(array, audio.rate_hz, extraction)

    def extract_all(paths: Iterable[Path]) -> Iterator[Examples]:
        for path in paths:
            yield from prefetcher.put(path)
        yield from prefetcher.drain()

    decoders = [make_decoder() for _ in range(num_threads)]
    limits = _MAX_AHEAD, _MAX_AHEAD_BYTES
    prefetcher = OrderedPrefetcher(extract, decoders, lambda path: 0, lambda array: array.nbytes, *limits)
    try:
        yield extract_all
    finally:
        prefetcher.close()
        for decoder in decoders:
            if isinstance(decoder, IsolatedDecoder):
                decoder.close()


# --- Processes


class Run(NamedTuple):
    """The cost and the standard output of a process and its descendants.

    `cpu_s` counts the descendants that were waited for. `peak_mb` is the sum of the peaks of resident memory
    of each process. `result` is the value that the function of `run_function` returned.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str

    @property
    def result(self) -> Any:
        return json.loads(self.output.splitlines()[-1])


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command in the root of the repository to its end and measure it. Linux only.

    `environment` has the variables to set in addition to those of this process.

    Raises:
      SystemExit: the command failed.
    """
    peaks_kb: dict[int, int] = {}
    cpu_before_s, started = sum(os.times()[2:4]), time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        variables = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, text=True)
        while process.poll() is None:
            # The last reading counts. A child that has not yet called exec shows the peak of its parent.
            peaks_kb.update(_peaks_kb(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
        wall_s = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"benchmarks: {command} failed with status {process.returncode}")
        output.seek(0)
        cpu_s = sum(os.times()[2:4]) - cpu_before_s  # of children
        return Run(wall_s, cpu_s, sum(peaks_kb.values()) / 1e3, output.read())


def function_command(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """Return the command that calls a function of a benchmark with JSON values in a new process."""
    module = f"benchmarks.{Path(inspect.getfile(function)).stem}"
    values = json.dumps(arguments, default=str)
    return [sys.executable, "-m", "benchmarks.harness", module, function.__name__, values]


def run_function(
    function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] | None = None
) -> Run:
    """Call a function in a new process; `Run.result` has the JSON value that it returned."""
    return run(function_command(function, *arguments), environment)


def run_pipeline(clips: Path | str, output: Path | str, *flags: str) -> Run:
    """Run `pipeline.run` in its own process on the FnApiRunner with random weights and without PCA."""
    program = [sys.executable, "-m", "pipeline.run", f"--input={clips}", f"--output={output}"]
    return run([*program, "--runner=FnApiRunner", "--weights=random:0", "--pca_params=none", *flags])


def save_embeddings(weights: str, precision: str, batch_size: int, examples: str, output: str) -> None:
    """Embed the examples of an .npy file and write the embeddings to another."""
    from transforms.vggish.model import Embedder

    np.save(output, Embedder(read_weights(weights), batch_size, precision).embed(np.load(examples)))


def _peaks_kb(pid: int) -> Iterable[tuple[int, int]]:
    """Yield the IDs of a process and its descendants that still run, and their peaks of resident memory."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{member.pid}/status").read_text()
                if "VmHWM:" in status:  # else it has just ended
                    yield member.pid, int(status.split("VmHWM:")[1].split()[0])


# --- Timing


def usage_s() -> NDArray[np.float64]:
    """Return the wall time, the CPU time of this process, and its CPU time with its children, in seconds."""
    import psutil

    running_s = sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())
    own_s, ended_s = time.process_time(), sum(os.times()[2:4])
    return np.array([time.perf_counter(), own_s, own_s + ended_s + running_s])


def median_times_s(
    work: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds per call by name, measured with `clock` over a number of rounds.

    The calls take turns, so that other work on the machine affects all of them alike; one round before warms
    up. A call of less than 20 ms is repeated within its turn, as the pipeline repeats it for one clip after
    the other. Otherwise cold caches would count for more than the work.
    """
    times_s: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, call in work.items():
            turn_started, started, num_calls = time.perf_counter(), clock(), 0
            while num_calls == 0 or time.perf_counter() - turn_started < _TURN_S:
                call()
                num_calls += 1
            if round_number:
                times_s[name].append((clock() - started) / num_calls)
    return {name: statistics.median(times) for name, times in times_s.items()}


# --- Results


def describe_machine() -> dict[str, Any]:
    """Return the CPU, its cores, the load before the benchmark, and the versions of the packages."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = (line.partition(":") for line in cpu.split("\n\n")[0].splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines}
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "machine": {
            "cpu": fields.get("model name", platform.processor()),
            "features": [name for name in _CPU_FEATURES if name in fields.get("flags", "").split()],
            "cores": num_cores(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": versions,
    }


def read_result(name: str) -> dict[str, Any]:
    """Read results/NAME.json."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def main(*benchmarks: Callable[..., dict[str, Any]]) -> None:
    """Run a benchmark with the flags of the command line, print its report, and write it to NAME.json.

    If there are several benchmarks, the first argument selects one by its name. The type of a flag is that of
    the parameter's default, and a tuple takes several values.
    """
    program = f"python -m benchmarks.{Path(inspect.getfile(benchmarks[0])).stem}"
    parser = argparse.ArgumentParser(prog=program, description=benchmarks[0].__doc__)
    commands = parser.add_subparsers(required=True) if len(benchmarks) > 1 else None
    for function in benchmarks:
        own = commands.add_parser(function.__name__, description=function.__doc__) if commands else parser
        own.set_defaults(benchmark=function)
        own.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
        for flag, parameter in inspect.signature(function).parameters.items():
            default = parameter.default
            is_list = isinstance(default, tuple)
            kind = type(default[0] if is_list else default)
            own.add_argument(f"--{flag}", type=kind, nargs="+" if is_list else None, default=default)
    flags = vars(parser.parse_args())
    benchmark, folder = flags.pop("benchmark"), flags.pop("results")
    name = benchmark.__name__
    words = [program, *([name] if commands else []), *itertools.starmap(_flag_text, flags.items())]
    report = {"command": " ".join(filter(None, words)), **describe_machine(), **benchmark(**flags)}
    text = json.dumps(report, indent=2)
    print(text)
    (folder / f"{name}.json").write_text(text + "\n")


def _flag_text(name: str, value: Any) -> str:
    """Return a flag as the report shows it; paths of this machine become placeholders."""
    if isinstance(value, str):
        return f"--{name}={name.upper()}" if "/" in value or "*" in value else ""
    return f"--{name} {' '.join(map(str, value))}" if isinstance(value, list | tuple) else f"--{name}={value}"


if __name__ == "__main__":
    # As `function_command` calls it.
    _function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
    print(json.dumps(_function(*json.loads(sys.argv[3]))))
