"""What a runner needs is checked before any work, and its workers share the cores."""

import os
import re

import pytest

from pipeline.job import runner
from pipeline.job.runner import make_pipeline, runs_here
from transforms.beam_internals import has_google_credentials
from transforms.errors import SettingError
from transforms.prefetch import num_cores

# Any program: these tests need no Java.
LAUNCHER = "--job_server_java_launcher=sh"


@pytest.fixture
def no_threads_set(monkeypatch):
    """The variable that says how many threads a process may have is left as it was."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")  # so that what the test sets is undone
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")


MULTI_PROCESSING = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]


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


def test_a_process_has_the_threads_that_it_was_given(no_threads_set, monkeypatch):
    assert num_cores() == len(os.sched_getaffinity(0))
    for given, cores in (("1", 1), ("0", num_cores()), ("", num_cores()), ("many", num_cores())):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
        assert num_cores() == cores


def test_dataflow_without_credentials_is_an_error_before_anything_else(monkeypatch, tmp_path):
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
            ["--runner=SparkRunner", "--job_server_java_launcher=no-java"],
            "the program 'no-java' was not found",
        ),
        (
            ["--runner=FlinkRunner", "--flink_job_server_jar=no.jar", LAUNCHER],
            "--flink_job_server_jar=no.jar: no such file",
        ),
        (
            ["--runner=FlinkRunner", "--flink_master=127.0.0.1:9", LAUNCHER],
            "127.0.0.1:9: the cluster does not",
        ),
        (["--runner=PrismRunner", "--prism_location=no-prism"], "--prism_location=no-prism: no such file"),
    ],
)
def test_an_engine_that_cannot_be_had_is_an_error_before_any_work(flags, message):
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
