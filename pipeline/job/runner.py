"""Makes the runner of a pipeline, and checks what it needs: Java, jars, a cluster.

Beam itself would fail late, during a run.
"""

import functools
import multiprocessing
import os
import shutil
import socket
import sys
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
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners import DataflowRunner, PipelineRunner, create_runner
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.portability.spark_runner import SparkRunner

from pipeline.cli.runner_names import check_not_refused
from transforms.beam_internals import cache_construction, has_google_credentials, stop_job_servers
from transforms.errors import SettingError
from transforms.prefetch import num_cores
from transforms.printable import Attention, say
from transforms.storage.filesystems import NO_CREDENTIALS
from transforms.worker_process import start_workers_here

_PATIENCE_S = 10.0
# Runners whose workers are on this machine.
_LOCAL_RUNNERS = (FnApiRunner, PrismRunner)
# Runners on which tests compare the bytes of all shards and lists; docs/runners.md.
_COMPARED = (FnApiRunner, PrismRunner, FlinkRunner)


def make_runner(options: PipelineOptions) -> PipelineRunner:
    """Returns the runner that the options name; without a name, the FnApiRunner.

    DirectRunner is the FnApiRunner too. Beam's own DirectRunner is Prism if this machine has Prism or can
    download it, so the engine would depend on the network.

    Raises:
      SettingError: Beam cannot make the runner, or the runner is refused.
    """
    name = options.view_as(StandardOptions).runner or FnApiRunner.__name__
    try:
        runner = create_runner(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingError(
            f"--runner={name}: Beam cannot make this runner ({error}); give a runner of docs/runners.md, or "
            "the path of an installed class, such as package.module.MyRunner"
        ) from error
    if not isinstance(runner, PipelineRunner):
        raise SettingError(f"--runner={name}: this is not a runner; give a runner of docs/runners.md")
    for kind in type(runner).__mro__:
        check_not_refused(name, kind.__name__)
    if type(runner) in (SwitchingDirectRunner, FnApiRunner):
        # Without this, worker processes would not get the options, such as those of s3://.
        values = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=values)
        return FnApiRunner(provision_info=ExtendedProvisionInfo(provision))
    return runner


def check_engine(runner: PipelineRunner, options: PipelineOptions) -> None:
    """Checks that this machine has what the runner needs: Java, jars, binaries, access to a cluster.

    Raises:
      SettingError: something is missing.
    """
    if options.view_as(PortableOptions).job_endpoint:
        return  # the job server already runs
    if type(runner) is PortableRunner:
        raise SettingError(
            "--runner=PortableRunner: it needs --job_endpoint=HOST:PORT of a job server, or "
            "--job_endpoint=embed; see docs/runners.md"
        )
    if isinstance(runner, FlinkRunner):
        flink = options.view_as(FlinkRunnerOptions)
        _check_job_server(options, "flink_job_server_jar", flink.flink_job_server_jar)
        _check_flink(flink.flink_master)
    elif isinstance(runner, SparkRunner):
        jar = options.view_as(SparkRunnerOptions).spark_job_server_jar
        _check_job_server(options, "spark_job_server_jar", jar)
    elif isinstance(runner, DataflowRunner):
        if not options.view_as(TestOptions).dry_run and not has_google_credentials():
            # Beam would search for credentials for a minute.
            raise SettingError(f"--runner=DataflowRunner: {NO_CREDENTIALS}")
    elif isinstance(runner, PrismRunner):
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
    environment = pipeline.options.view_as(PortableOptions).environment_type
    if environment is None and isinstance(pipeline.runner, FlinkRunner):
        # It uses this machine if it starts Flink itself.
        return pipeline.options.view_as(FlinkRunnerOptions).flink_master.startswith("[")
    return isinstance(pipeline.runner, _LOCAL_RUNNERS) or environment == "LOOPBACK"


def describe_runner(pipeline: beam.Pipeline) -> str:
    """Returns which runner a pipeline has: "PrismRunner", "FnApiRunner, in_memory, 1 worker"."""
    name = type(pipeline.runner).__name__
    if not isinstance(pipeline.runner, FnApiRunner):
        return name
    direct = pipeline.options.view_as(DirectOptions)
    workers = direct.direct_num_workers or multiprocessing.cpu_count()  # as in the FnApiRunner
    return f"{name}, {direct.direct_running_mode}, {workers} worker{'s' * (workers > 1)}"


def make_pipeline(beam_flags: Sequence[str]) -> beam.Pipeline:
    """Returns a pipeline with Beam's options; worker processes on this machine will share its cores.

    Raises:
      SettingError: Beam refuses an option, or the runner is refused or lacks something that it needs.
    """
    cache_construction()
    stop_job_servers()
    options = PipelineOptions(beam_flags)
    # Workers import the package; a pickled __main__ would only make jobs larger.
    options.view_as(SetupOptions).save_main_session = False
    runner = make_runner(options)
    check_engine(runner, options)
    portable = options.view_as(PortableOptions)
    is_embedded = type(runner) is PortableRunner and portable.job_endpoint == "embed"  # an FnApiRunner
    if type(runner) not in _COMPARED and not is_embedded:
        _warn_of(type(runner).__name__)
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "multi_processing":
        share_cores(direct.direct_num_workers or num_cores())
        start_workers_here()
    try:
        return beam.Pipeline(runner=runner, options=options)
    except ValueError as error:  # Beam checks its options: for example no project
        raise SettingError(f"Beam refuses its options: {error}") from error


@functools.cache  # a command may make several pipelines
def _warn_of(name: str) -> None:
    known = ", ".join(runner.__name__ for runner in _COMPARED)
    line = (
        f"warning: {name}: bytes were compared on other runners only ({known}); the account of a run finds "
        "lost clips, but not wrong bytes; docs/runners.md says how to compare bytes"
    )
    say(Attention(line), file=sys.stderr)


def share_cores(num_processes: int) -> None:
    """Divides the cores among the processes that this one will start, unless the environment sets a number.

    TensorFlow starts one thread per core in each process, so the threads of several processes would compete.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, num_cores() // num_processes)))
