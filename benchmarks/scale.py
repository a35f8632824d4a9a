"""Cost per clip of pipeline and runners without the model: python -m benchmarks.scale scale|runners

The whole graph of `pipeline.run` runs with a stand-in for the model, so that only the pipeline and the runner
are measured. Clips are of one second, so one example each. There is one prefix of IDs for every 24 clips, so
that a shard of features gets 24 clips whatever the size of the corpus: 4,096 shards for 100,000 clips. Each
run has its own process, whose imports are not counted. Linux only.
"""

import itertools
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import harness
from pipeline import make_shards
from pipeline.graph import EmbeddingJob, build_graph
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.shard_list import update_shard_list
from transforms.embed_examples import EmbedExamples, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.features.folder_shards import ShardNotes
from transforms.read_clips import ClipSettings, ReadClips
from transforms.rejects import KeepRejected
from transforms.write_features import WriteFeatures

CLIPS_PER_SHARD = 24
# Corpora up to this size are run several times, larger ones once.
MAX_REPEATED = 1_000
FN_API_RUNNER = "--runner=FnApiRunner"
# The matrix product of one example is too small to share among threads. They would wait for each other while
# the cores do other work.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class _StandIn:
    """Embeds without a network: float32[n, 96, 64] -> float32[n, 128]."""

    def embed_clips(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.tile(examples.mean(axis=1), 2) for examples in clips]


class _StandInHandler(VggishModelHandler):
    def make_model(self) -> Any:
        return _StandIn()


def embed_with_stand_in(pattern: str, output: str, flags: Sequence[str]) -> dict[str, float]:
    """Run the graph with the stand-in and list the shards as `pipeline.run` does; return its cost.

    The CPU time is that of this process and its descendants. `flags` are options of Beam.
    """
    started = harness.usage_s()
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
    wall_s, _, cpu_s = (harness.usage_s() - started).tolist()
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def _measure_run(pattern: str, output: Path, *flags: str) -> dict[str, float]:
    run = harness.run_function(embed_with_stand_in, pattern, output, flags, environment=ENVIRONMENT)
    shutil.rmtree(output)
    return run.result | {"peak_mb": run.peak_mb}


def scale(*, sizes: tuple[int, ...] = (1_000, 10_000, 100_000), repeats: int = 3) -> dict[str, Any]:
    """Time and memory per clip by size of the corpus, as files and in TFRecord shards, on the FnApiRunner.

    The FnApiRunner keeps in memory what other runners spill to disk. A run of one clip is the start-up, which
    times per clip leave out. Takes about 20 minutes and 4 GB of disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        return {form: _measure_form(form, Path(folder, form), sizes, repeats) for form in ("files", "shards")}


def _measure_form(form: str, folder: Path, sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    patterns = _make_corpora(folder, sizes)
    for size, pattern in patterns.items() if form == "shards" else ():
        shards = folder / f"{size}-packed"
        make_shards.run([f"--input={pattern}", f"--output={shards}", "--format=tfrecord", FN_API_RUNNER])
        shutil.rmtree(folder / str(size))
        patterns[size] = f"{shards}/*.tfrecord"
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in patterns}
    for repeat in range(repeats):
        # Small corpora come before and after the large ones, so that other work on the machine affects all.
        for size in patterns if repeat % 2 == 0 else reversed(patterns):
            if size <= MAX_REPEATED or not runs[size]:
                runs[size].append(_measure_run(patterns[size], folder / "features", FN_API_RUNNER))
    medians = {
        size: {key: statistics.median(run[key] for run in of_size) for key in of_size[0]}
        for size, of_size in runs.items()
    }
    shutil.rmtree(folder)
    rows = {str(size): {key: round(value, 2) for key, value in run.items()} for size, run in medians.items()}
    # Time per clip without the start-up, and growth over the next smaller run.
    for smaller, size in itertools.pairwise(medians):
        for kind in ("wall", "cpu"):
            seconds = medians[size][f"{kind}_s"] - medians[1][f"{kind}_s"]
            rows[str(size)][f"{kind}_ms_a_clip"] = round(1e3 * seconds / (size - 1), 3)
        growth_mb = medians[size]["peak_mb"] - medians[smaller]["peak_mb"]
        rows[str(size)]["growth_kb_a_clip"] = round(1e3 * growth_mb / (size - smaller), 2)
    return rows


def _make_corpora(folder: Path, sizes: Sequence[int]) -> dict[int, str]:
    """Write a corpus of one clip and one of each size; return their globs by size, in ascending order."""
    for size in (1, *sizes):
        harness.make_corpus(folder / str(size), size, seconds=1, clips_per_shard=CLIPS_PER_SHARD)
    return {size: f"{folder}/{size}/*" for size in sorted({1, *sizes})}


def runners(*, clips: tuple[int, ...] = (10_000, 100_000)) -> dict[str, Any]:
    """Wall time and peak memory of each local runner, by the number of clips; one clip is the start-up.

    The peak is the sum of the peaks of all processes: decoders, workers, Prism, and Java, whose heap is
    limited to 0.5 GB. Installs Prism and Beam's job server for Flink as the integration tests do.
    """
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        patterns = _make_corpora(folder, clips)
        for (runner, flags), size in itertools.product(_runner_flags().items(), patterns):
            run = _measure_run(patterns[size], folder / "features", *flags)
            row = {key: round(value, 1) for key, value in run.items()} | {"peak_mb": round(run["peak_mb"])}
            rows.setdefault(runner, {})[str(size)] = row
    return {"runners": rows}


def _runner_flags() -> dict[str, list[str]]:
    """Return the options of Beam by runner."""
    # The tests pin the versions of what they install.
    sys.path.append(str(harness.ROOT / "tests" / "integration"))
    import install

    two_workers = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    return {
        "FnApiRunner": [FN_API_RUNNER],
        "FnApiRunner, multi_processing, 2 workers": [FN_API_RUNNER, *two_workers],
        "PrismRunner": ["--runner=PrismRunner", f"--prism_location={install.prism()}"],
        "FlinkRunner, [local]": [
            "--runner=FlinkRunner",
            "--flink_master=[local]",
            f"--flink_job_server_jar={install.flink_job_server()}",
            "--job_server_jvm_properties=-Xmx512m",
        ],
    }


if __name__ == "__main__":
    harness.main(scale, runners)
