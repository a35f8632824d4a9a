"""Preflight checks for Beam runners: Java, jars, cluster. Beam itself would fail late, during a run."""

import os
import shutil
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SetupOptions,
    SparkRunnerOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner

from transforms.beam_internals import cache_construction, has_google_credentials
from transforms.errors import SettingError
from transforms.prefetch import num_cores
from transforms.storage.filesystems import NO_CREDENTIALS
from transforms.worker_process import start_workers_here

_PATIENCE_S = 10.0
# Class names of the runners whose workers are on this machine.
_LOCAL_RUNNERS = ("SwitchingDirectRunner", "BundleBasedDirectRunner", "FnApiRunner", "PrismRunner")


def check_engine(options: PipelineOptions) -> None:
    """Checks that this machine has what the runner needs: Java, jars, binaries, access to a cluster.

    Raises:
      SettingError: something is missing.
    """
    runner = (options.view_as(StandardOptions).runner or "").lower()
    if options.view_as(PortableOptions).job_endpoint:
        return  # the job server already runs
    if runner == "flinkrunner":
        flink = options.view_as(FlinkRunnerOptions)
        _check_job_server(options, "flink_job_server_jar", flink.flink_job_server_jar)
        _check_flink(flink.flink_master)
    elif runner == "sparkrunner":
        jar = options.view_as(SparkRunnerOptions).spark_job_server_jar
        _check_job_server(options, "spark_job_server_jar", jar)
    elif runner == "dataflowrunner":
        if not options.view_as(TestOptions).dry_run and not has_google_credentials():
            # Beam would search for credentials for a minute.
            raise SettingError(f"--runner=DataflowRunner: {NO_CREDENTIALS}")
    elif runner == "prismrunner":
        _check_file("prism_location", options.view_as(PrismRunnerOptions).prism_location)


def _check_job_server(options: PipelineOptions, option: str, jar: str | None) -> None:
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise SettingError(
            f"the program {java!r} was not found, but Beam's job server needs it: install Java 11 or later, "
            "or give --job_server_java_launcher=PATH, or --job_endpoint=HOST:PORT of another job server"
        )
    _check_file(option, jar)


def _check_file(option: str, path: str | None) -> None:
    if path and not urlsplit(path).scheme and not os.path.isfile(path):
        raise SettingError(f"--{option}={path}: no such file; docs/runners.md describes how to get it")


def _check_flink(address: str) -> None:
    if address in MAGIC_HOST_NAMES:
        return
    url = urlsplit(FlinkRunner.add_http_scheme(address))
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), _PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise SettingError(
            f"--flink_master={address}: the cluster does not answer ({error}); give the REST address of a "
            "running cluster, or [local]"
        ) from error


def runs_here(pipeline: beam.Pipeline) -> bool:
    """Returns whether a pipeline's workers are processes on this machine."""
    runner = type(pipeline.runner).__name__
    environment = pipeline.options.view_as(PortableOptions).environment_type
    if environment is None and runner == "FlinkRunner":  # uses this machine if it starts Flink itself
        return pipeline.options.view_as(FlinkRunnerOptions).flink_master.startswith("[")
    return runner in _LOCAL_RUNNERS or environment == "LOOPBACK"


def make_pipeline(beam_flags: Sequence[str]) -> beam.Pipeline:
    """Returns a pipeline with Beam's options; worker processes on this machine will share its cores.

    Raises:
      SettingError: Beam refuses an option, or the runner lacks something that it needs.
    """
    cache_construction()
    options = PipelineOptions(beam_flags)
    check_engine(options)
    # Workers import the package; a pickled __main__ would only make jobs larger.
    setup = options.view_as(SetupOptions)
    setup.save_main_session = False
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_processing":
        share_cores(direct.direct_num_workers or num_cores())
        start_workers_here()
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:  # Beam checks its options: for example an unknown runner, or no project
        raise SettingError(f"Beam refuses its options: {error}") from error


def share_cores(num_processes: int) -> None:
    """Divides the cores among the processes that this one will start, unless the environment sets a number.

    TensorFlow starts one thread per core in each process, so the threads of several processes would compete.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, num_cores() // num_processes)))
