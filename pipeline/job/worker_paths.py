"""What workers elsewhere see of the paths that a command names."""

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
    """Checks that workers can see what they are to read and write.

    Args:
      options: of the command.
      segments: paths of its segments CSVs.

    Raises:
      SettingError: a path is of this machine, and the workers certainly are not.
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
    """Raises SettingError if workers certainly do not see `what`, a path of this machine."""
    workers = _workers_elsewhere(PipelineOptions(list(options.beam_flags)))
    if workers:
        raise SettingError(
            f"{what}: {workers} do not see this machine's files; put them on gs:// or another filesystem "
            "that they reach, and give that path"
        )


def _workers_elsewhere(options: PipelineOptions) -> str | None:
    """Who the workers are, if they have no disk in common with this machine; None if they may have one.

    A cluster whose workers are processes (EXTERNAL, PROCESS) may share a disk: whether it does, a worker
    finds out when it looks for its files.
    """
    runner = (options.view_as(StandardOptions).runner or "").lower()
    if "dataflow" in runner:
        return "Dataflow's workers"
    kind = options.view_as(PortableOptions).environment_type or _default_environment(runner, options)
    return "workers in containers (--environment_type=DOCKER)" if kind.upper() == "DOCKER" else None


def _default_environment(runner: str, options: PipelineOptions) -> str:
    """Beam's, where the command names none: containers, unless the runner starts the whole engine itself."""
    if "flink" in runner:
        starts_it = options.view_as(FlinkRunnerOptions).flink_master.startswith("[")
    elif "spark" in runner:
        starts_it = options.view_as(SparkRunnerOptions).spark_master_url.startswith("local")
    else:
        starts_it = "portable" not in runner
    return "LOOPBACK" if starts_it else "DOCKER"
