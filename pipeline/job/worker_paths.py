"""Checks that remote workers can access the given paths."""

from collections.abc import Iterable

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)

from pipeline.cli.options import Options
from transforms.errors import SettingError
from transforms.storage.files import is_local
from transforms.vggish.checkpoint import RANDOM


def check_paths(options: Options, segments: Iterable[str]) -> None:
    """Checks that the workers can access the paths that they read and write; `segments` are paths of CSVs.

    Raises:
      SettingError: a path is local to this machine, but the workers are certainly on other machines.
    """
    for name, paths in (
        ("input", options.input),
        ("input_rejects", options.input_rejects),
        ("output", [options.output]),
        ("segments", segments),
        ("class_labels", [options.class_labels]),
        ("weights", [options.weights]),
    ):
        for path in paths:
            if path is not None and is_local(path) and not path.startswith(RANDOM):
                check_seen(options, f"--{name}={path}")


def check_seen(options: Options, what: str) -> None:
    """Raises SettingError if the workers certainly cannot access `what`, a local path of this machine."""
    workers = _workers_elsewhere(PipelineOptions(list(options.beam_flags)))
    if workers:
        raise SettingError(
            f"{what}: {workers} cannot access this machine's files; copy them to gs:// or another filesystem "
            "that the workers can access, and give that path"
        )


def _workers_elsewhere(options: PipelineOptions) -> str | None:
    """Describes the workers if they share no disk with this machine; None if they may share one.

    A cluster whose workers are processes (EXTERNAL, PROCESS) may share a disk; only a worker can find out,
    when it opens its files.
    """
    runner = (options.view_as(StandardOptions).runner or "").lower()
    if "dataflow" in runner:
        return "Dataflow's workers"
    kind = options.view_as(PortableOptions).environment_type or _default_environment(runner, options)
    return "workers in containers (--environment_type=DOCKER)" if kind.upper() == "DOCKER" else None


def _default_environment(runner: str, options: PipelineOptions) -> str:
    """Returns Beam's default environment type: containers, unless the runner starts the engine itself."""
    if "flink" in runner:
        starts_it = options.view_as(FlinkRunnerOptions).flink_master.startswith("[")
    elif "spark" in runner:
        starts_it = options.view_as(SparkRunnerOptions).spark_master_url.startswith("local")
    else:
        starts_it = "portable" not in runner
    return "LOOPBACK" if starts_it else "DOCKER"
