"""What a clip costs among 1,000 and among 100,000: python benchmarks/scale.py

The graph of `pipeline.run`, whole, with a stand-in for the model: all that is measured is the pipeline. Clips
are of one second, so one example each, as files and in TFRecord shards, with ids in as many prefixes as give
24 clips to a shard of features whatever their number: 4,096 shards for 100,000 clips. Files are hard links to
256 recordings. Each run is a process of its own on the FnApiRunner, which keeps in memory what other runners
spill to disk. A run of one clip is start-up, and is taken off the others; imports are not counted.

Then 4,096 shards of 24 clips of ten frames are written by `WriteFeatures`, and their bytes by plain writes.

Prints JSON, and writes it to results/scale.json. Takes some 20 minutes and 4 GB of disk. Linux only.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import psutil
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import make_shards
from pipeline.graph import EmbeddingJob, build_graph
from pipeline.job.manifest import package_versions
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.shard_list import update_shard_list
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.embed_examples import EmbedExamples, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.features.own_shards import ShardNotes
from transforms.read_clips import ClipSettings, ReadClips
from transforms.rejects import KeepRejected
from transforms.storage.files import write_atomic
from transforms.vggish.params import EMBEDDING_SIZE, SAMPLE_RATE_HZ
from transforms.write_features import WriteFeatures

RESULTS = Path(__file__).parent / "results" / "scale.json"
SIZES = (1_000, 10_000, 100_000)
NUM_SHARDS = 4_096
CLIPS_PER_SHARD = 24
FRAMES_PER_CLIP = 10
# Two of the characters of AudioSet's ids name a shard.
_ID_CHARACTERS = string.ascii_letters + string.digits + "-_"
PREFIXES = ["".join(pair) for pair in itertools.product(_ID_CHARACTERS, repeat=2)]

_RECORDINGS = 256
_POLL_S = 0.1
# A matrix product of one example is too small to share among threads, and they wait for each other where
# the cores have other work.
_ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


class _StandIn:
    """Embeds without a network: float32[n, 96, 64] -> float32[n, 128]."""

    def embed_clips(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.tile(examples.mean(axis=1), 2) for examples in clips]


class _StandInHandler(VggishModelHandler):
    def load_model(self) -> Any:
        return _StandIn()


def make_files(folder: Path, num_clips: int) -> None:
    """Makes clips in `folder`, of recordings beside it."""
    recordings = folder.with_name(f"{folder.name}-recordings")
    recordings.mkdir(parents=True)
    folder.mkdir()
    for number in range(_RECORDINGS):
        samples = 0.1 * np.random.default_rng(number).standard_normal(SAMPLE_RATE_HZ)
        soundfile.write(recordings / f"{number}.wav", samples, SAMPLE_RATE_HZ)
    prefixes = PREFIXES[: max(1, num_clips // CLIPS_PER_SHARD)]
    for number in range(num_clips):
        name = f"{prefixes[number % len(prefixes)]}{number:09d}.wav"
        os.link(recordings / f"{number % _RECORDINGS}.wav", folder / name)


def embed(pattern: str, output: str, flags: Sequence[str]) -> dict[str, float]:
    """Runs the graph on a glob with Beam's flags, and makes the list of shards as `pipeline.run` does.

    Returns:
      Seconds by the clock and of processors, the decoder's too.
    """
    started, used_s = time.perf_counter(), _processor_s()
    job = EmbeddingJob(
        read=ReadClips([pattern], ClipSettings("train")),
        extract=ExtractExamples(),
        embed=EmbedExamples(_StandInHandler("", batch_size=32)),
        quantize=True,
        pca=None,
        write=WriteFeatures(output, notes=ShardNotes(output)),
        keep=KeepRejected([]),
    )
    folder = FeatureFolder.at(output)
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        build_graph(pipeline, job)
    update_shard_list(folder)
    return {"wall_s": time.perf_counter() - started, "cpu_s": _processor_s() - used_s}


def _processor_s() -> float:
    """Of this process and of those that it started, running or ended."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(os.times()[:4]) + sum(t.user + t.system for t in times)


def measure_run(
    pattern: str, output: Path, flags: Sequence[str] = ("--runner=FnApiRunner",)
) -> dict[str, float]:
    """`embed` in a process of its own, with the peak memory of it and of all processes that it starts."""
    command = [sys.executable, __file__, f"--embed={pattern}", f"--output={output}", *flags]
    peaks_kb: dict[int, int] = {}
    with subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            for pid in (process.pid, *_children(process.pid)):
                peaks_kb[pid] = max(peaks_kb.get(pid, 0), _peak_kb(pid))
            time.sleep(_POLL_S)
        if process.returncode:
            raise SystemExit(f"the run of {pattern} failed")
        assert process.stdout is not None
        times_s = json.loads(process.stdout.read())
    shutil.rmtree(output)
    return times_s | {"peak_mb": sum(peaks_kb.values()) / 1e3}


def _children(pid: int) -> list[int]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _peak_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if "VmHWM:" in status:  # not of one that has ended
            return int(status.split("VmHWM:")[1].split()[0])
    return 0


def measure_form(form: str, folder: Path, sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    """Clips as files, or in shards: medians of `repeats` runs up to 1,000 clips, one run of more."""
    patterns = {}
    for size in (1, *sizes):
        clips = folder / f"{form}-{size}"
        make_files(clips, size)
        patterns[size] = f"{clips}/*"
        if form == "shards":
            shards = folder / f"{form}-{size}-packed"
            make_shards.run(
                [f"--input={clips}/*", f"--output={shards}", "--format=tfrecord", "--runner=FnApiRunner"]
            )
            shutil.rmtree(clips)
            patterns[size] = f"{shards}/*.tfrecord"
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in patterns}
    for repeat in range(repeats):
        # Small ones before and after the large one, so that other work on the machine weighs on all.
        for size in patterns if repeat % 2 == 0 else list(reversed(patterns)):
            if size <= 1_000 or not runs[size]:
                runs[size].append(measure_run(patterns[size], folder / "features"))
    medians = {
        size: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for size, found in runs.items()
    }
    shutil.rmtree(folder)
    return {str(size): _row(medians, size) for size in medians}


def _row(medians: dict[int, dict[str, float]], size: int) -> dict[str, float]:
    """A run, what a clip took of it beyond start-up, and memory a clip beyond the next smaller run."""
    run, start = medians[size], medians[1]
    row = {key: round(value, 2) for key, value in run.items()}
    if size > 1:
        for kind in ("wall", "cpu"):
            row[f"{kind}_ms_a_clip"] = round(1e3 * (run[f"{kind}_s"] - start[f"{kind}_s"]) / (size - 1), 3)
        smaller = max(other for other in medians if other < size)
        growth_mb = run["peak_mb"] - medians[smaller]["peak_mb"]
        row["growth_kb_a_clip"] = round(1e3 * growth_mb / (size - smaller), 2)
    return row


def shard_pieces(prefix: str) -> Iterator[tuple[ClipChunk, np.ndarray]]:
    """The clips of a shard, of ten frames each."""
    rng = np.random.default_rng(PREFIXES.index(prefix))
    for number in range(CLIPS_PER_SHARD):
        video_id = f"{prefix}{number:09d}"
        segment = Segment("train", video_id, 30.0, 40.0, (0, 137))
        piece = ClipChunk(f"/clips/{video_id}.wav", None, "train", video_id, 30.0, 0, segment)
        yield piece, rng.integers(0, 256, (FRAMES_PER_CLIP, EMBEDDING_SIZE), np.uint8)


def measure_shards(folder: Path) -> dict[str, float]:
    """Seconds to write 4,096 shards: by the transform, file by file beside plain writes, and as one file."""
    features, ours, plain = folder / "features", folder / "ours", folder / "plain"
    times_s = {}
    transforms = {"make_clips": beam.Map(lambda _: None), "transform": WriteFeatures(str(features))}
    for name, transform in transforms.items():
        started = time.perf_counter()
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            _ = pipeline | beam.Create(PREFIXES) | beam.FlatMap(shard_pieces) | transform
        times_s[name] = time.perf_counter() - started
    shards = [path.read_bytes() for path in sorted(features.glob("*/*"))]
    for path in (ours, plain):
        path.mkdir()
    writers = {
        "files": lambda name, data: write_atomic(str(ours / name), data),
        "plain_files": lambda name, data: _write_plain(plain / name, data),
    }
    times_s |= dict.fromkeys(writers, 0.0)
    for number, data in enumerate(shards):
        for name in sorted(writers, reverse=bool(number % 2)):
            started = time.perf_counter()
            writers[name](str(number), data)
            times_s[name] += time.perf_counter() - started
    started = time.perf_counter()
    _write_plain(folder / "one", b"".join(shards))
    times_s["one_file"] = time.perf_counter() - started
    return {"shards": len(shards), "mb": round(sum(map(len, shards)) / 1e6, 1)} | {
        f"{name}_s": round(seconds, 2) for name, seconds in times_s.items()
    }


def _write_plain(path: Path, data: bytes) -> None:
    """Writes a file so that it is on the disk, as `write_atomic` does, and whole or not as it comes."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def measure(sizes: Sequence[int] = SIZES, repeats: int = 3) -> dict[str, Any]:
    """All of it; `repeats` of the runs of no more than 1,000 clips."""
    with tempfile.TemporaryDirectory() as temporary:
        results: dict[str, Any] = {
            form: measure_form(form, Path(temporary, form), sizes, repeats) for form in ("files", "shards")
        }
        results["write_shards"] = measure_shards(Path(temporary))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--embed", help=argparse.SUPPRESS)  # a glob, in a process of its own
    parser.add_argument("--output", help=argparse.SUPPRESS)
    args, flags = parser.parse_known_args()
    if args.embed:
        print(json.dumps(embed(args.embed, args.output, flags)))
        return
    report = measure(args.sizes) | {"cores": os.cpu_count(), "versions": package_versions()}
    text = json.dumps(report, indent=2)
    print(text)
    if tuple(args.sizes) == SIZES:
        RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
