"""Which runner a name means; what it needs is checked before any work, and its workers share the cores."""

import os
import re

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.cli.runner_names import BEAM_RUNNERS, REFUSED
from pipeline.job import runner
from pipeline.job.runner import describe_runner, make_pipeline, make_runner, runs_here
from transforms.beam_internals import has_google_credentials
from transforms.errors import SettingError
from transforms.prefetch import num_cores

# Any program: these tests need no Java.
LAUNCHER = "--job_server_java_launcher=sh"


@pytest.fixture
def no_threads_set(monkeypatch):
    """Restores the variable with the number of threads per process."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")  # so that what the test sets is undone
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")


MULTI_PROCESSING = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]


DIRECT = "apache_beam.runners.direct.direct_runner"


@pytest.mark.parametrize(
    "flags",
    [[]]
    + [
        [f"--runner={name}"]
        for name in ("DirectRunner", "direct", "SWITCHINGDIRECTRUNNER", "fnapi", f"{DIRECT}.DirectRunner")
    ],
)
def test_the_direct_runner_is_always_the_fn_api_runner(flags):
    pipeline = make_pipeline(flags)
    assert type(pipeline.runner) is FnApiRunner
    assert describe_runner(pipeline) == "FnApiRunner, in_memory, 1 worker"


def test_a_runner_is_described_with_its_mode(no_threads_set):
    pipeline = make_pipeline(["--direct_running_mode=multi_processing", "--direct_num_workers=2"])
    assert describe_runner(pipeline) == "FnApiRunner, multi_processing, 2 workers"
    assert describe_runner(make_pipeline(["--runner=prism"])) == "PrismRunner"


class OwnRunner(FnApiRunner):
    pass


class OldRunner(BundleBasedDirectRunner):
    pass


class NoRunner:
    pass


@pytest.mark.parametrize(
    "name, message",
    [
        (f"{__name__}.OldRunner", "BundleBasedDirectRunner is refused"),
        (f"{__name__}.NoRunner", "this is not a runner; "),
        (f"{__name__}.Missing", "Beam cannot make this runner (module"),
        ("no_package.Runner", "Beam cannot make this runner (No module named 'no_package'); "),
        ("os.path.join", "Beam cannot make this runner (join() missing"),
        (".Runner", "Beam cannot make this runner ("),
        ("PythonRPCDirectRunner", "Beam cannot make this runner (No module named"),
    ],
)
def test_what_is_no_runner_is_an_error(name, message):
    with pytest.raises(SettingError, match=re.escape(f"--runner={name}: {message}")):
        make_pipeline([f"--runner={name}"])


@pytest.mark.parametrize(
    "flags, name",
    [
        ([f"--runner={__name__}.OwnRunner"], "OwnRunner"),
        (["--runner=PortableRunner", "--job_endpoint=elsewhere:8099"], "PortableRunner"),
        (["--runner=spark", "--job_endpoint=elsewhere:8099"], "SparkRunner"),
        (["--runner=prism"], ""),
        (["--runner=PortableRunner", "--job_endpoint=embed"], ""),
        (["--runner=Flink", "--job_endpoint=elsewhere:8099"], ""),
        ([], ""),
    ],
)
def test_a_runner_without_comparison_is_warned_of_once(capsys, flags, name):
    runner._warn_of.cache_clear()
    for _ in range(2):
        make_pipeline(flags)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == bool(name)
    if name:
        assert said[0].startswith(
            f"warning: {name}: bytes were compared on other runners only (FnApiRunner, "
        )


# Without the InteractiveRunner, which needs an extra of Beam.
@pytest.mark.parametrize("name", sorted({*BEAM_RUNNERS} - {*REFUSED, "InteractiveRunner"}))
def test_beam_makes_every_runner_that_is_accepted(name):
    for spelling in (name, name.lower(), name.removesuffix("Runner")):
        made = type(make_runner(PipelineOptions([f"--runner={spelling}"]))).__name__
        assert made == {"DirectRunner": "FnApiRunner", "SwitchingDirectRunner": "FnApiRunner"}.get(name, name)


def note_endpoint(path: str) -> None:
    endpoint = FileSystems._pipeline_options.view_as(S3Options).s3_endpoint_url
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {endpoint}")


@pytest.mark.integration  # it starts a worker process
@pytest.mark.parametrize("name", ["FnApiRunner", "DirectRunner"])
def test_worker_processes_get_the_options(no_threads_set, monkeypatch, tmp_path, name):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)
    flags = [f"--runner={name}", *MULTI_PROCESSING[1:], "--s3_endpoint_url=http://127.0.0.1:9"]
    with make_pipeline(flags) as pipeline:
        _ = pipeline | beam.Create([f"{tmp_path}/seen"]) | beam.Map(note_endpoint)
    process, endpoint = (tmp_path / "seen").read_text().split()
    assert int(process) != os.getpid() and endpoint == "http://127.0.0.1:9"


@pytest.mark.parametrize("workers, threads", [(2, "4"), (3, "2"), (0, "1"), (100, "1")])
def test_worker_processes_share_the_cores(no_threads_set, monkeypatch, workers, threads):
    monkeypatch.setattr(runner, "num_cores", lambda: 8)
    make_pipeline([*MULTI_PROCESSING, f"--direct_num_workers={workers}"])
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == threads


def test_one_process_has_all_cores_and_the_environment_wins(no_threads_set, monkeypatch):
    make_pipeline(["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    make_pipeline([*MULTI_PROCESSING, "--direct_num_workers=2"])
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "5"


def test_the_number_of_threads_is_that_of_the_environment(no_threads_set, monkeypatch):
    assert num_cores() == len(os.sched_getaffinity(0))
    for given, cores in (("1", 1), ("0", num_cores()), ("", num_cores()), ("many", num_cores())):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
        assert num_cores() == cores


def test_dataflow_without_credentials_is_an_error_before_any_work(monkeypatch, tmp_path):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    has_google_credentials.cache_clear()
    with pytest.raises(SettingError, match="--runner=DataflowRunner: there are no Google credentials"):
        make_pipeline(["--runner=DataflowRunner"])
    has_google_credentials.cache_clear()


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--runner=FlinkRunner", "--job_server_java_launcher=no-java"],
            "the program 'no-java' was not found",
        ),
        (
            ["--runner=spark", "--job_server_java_launcher=no-java"],
            "the program 'no-java' was not found",
        ),
        (
            ["--runner=flink", "--flink_job_server_jar=no.jar", LAUNCHER],
            "--flink_job_server_jar=no.jar: no such file",
        ),
        (
            ["--runner=FlinkRunner", "--flink_master=127.0.0.1:9", LAUNCHER],
            "127.0.0.1:9: the cluster does not",
        ),
        (["--runner=portable"], "--runner=PortableRunner: it needs --job_endpoint=HOST:PORT"),
        (["--runner=PrismRunner", "--prism_location=no-prism"], "--prism_location=no-prism: no such file"),
    ],
)
def test_a_missing_engine_is_an_error_before_any_work(flags, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        make_pipeline(flags)


@pytest.mark.parametrize(
    "flags, here",
    [
        ([], True),
        (["--runner=FnApiRunner"], True),
        (["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"], True),
        (["--runner=PortableRunner", "--job_endpoint=elsewhere:8099"], False),
        (["--runner=FlinkRunner", "--flink_master=elsewhere:8081", "--job_endpoint=elsewhere:8099"], False),
    ],
)
def test_workers_elsewhere_are_not_watched(flags, here):
    assert runs_here(make_pipeline(flags)) is here
