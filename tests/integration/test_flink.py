"""The command on Flink: in Beam's job server, and on a cluster that loses a machine."""

import base64
import json
import subprocess
import time
from pathlib import Path

import install
import pytest
from flink import TASK_MANAGERS, Cluster
from runs import Run, kill, run, start

pytestmark = [pytest.mark.integration, pytest.mark.flink]

PATIENCE_S = 600


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("flink")) as cluster:
        yield cluster


@pytest.fixture
def variables(engine_corpus, tmp_path) -> dict[str, object]:
    """Returns the values of the variables in the documented commands."""
    return {
        "JOB_SERVER": install.flink_job_server(),
        "SHARED": tmp_path,
        "CLIPS": engine_corpus.clips,
        "FEATURES": tmp_path / "features",
    }


def test_the_job_servers_own_flink_writes_the_same_bytes(engine_corpus, variables, tmp_path):
    assert run("Flink in the job server", tmp_path / "log", **variables) == engine_corpus.expected


@pytest.mark.parametrize("parallelism", [1, 2, 4])
def test_a_cluster_writes_the_same_bytes(cluster, engine_corpus, variables, tmp_path, parallelism):
    started = time.monotonic()
    found = run("Flink cluster", tmp_path / "log", f"--parallelism={parallelism}", **variables)
    print(f"parallelism {parallelism}: {time.monotonic() - started:.1f} s")
    assert found == engine_corpus.expected
    # A TaskManager has one worker process with one model, whatever its number of slots.
    assert model_loads(cluster, cluster.last_job()) == min(parallelism, TASK_MANAGERS)


def model_loads(cluster: Cluster, job: str) -> int:
    """Returns how many models Beam's RunInference loaded, by its metrics."""
    accumulators = cluster.get(f"jobs/{job}/accumulators")["user-task-accumulators"]
    (metrics,) = (json.loads(a["value"]) for a in accumulators if a["name"] == "__metricscontainers")
    # A distribution begins with its count, a varint.
    return sum(
        base64.b64decode(info["payload"])[0]
        for info in metrics["metrics"]["attempted"]
        if info["labels"].get("NAME", "").endswith("load_model_latency_milli_secs")
    )


def wait_for(moment: str, cluster: Cluster, shards_before: int, process: subprocess.Popen, out: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        if moment == "embedding" and cluster.is_decoding():
            return
        if moment == "writing" and len(list(out.glob("*/*.tfrecord"))) > shards_before + 5:
            return
        time.sleep(0.02)
    raise AssertionError(f"no moment of {moment}; the run ended with {process.poll()}")


@pytest.mark.parametrize("moment", ["embedding", "writing"])
def test_a_lost_task_manager_costs_time_and_nothing_else(cluster, engine_corpus, variables, tmp_path, moment):
    """Kills a machine while clips are embedded, and while shards are added to an existing folder."""
    expected, out, there = engine_corpus.expected, tmp_path / "features", 0
    if moment == "writing":
        first = run("FnApiRunner", tmp_path / "log", CLIPS=engine_corpus.some, FEATURES=out)
        there = first.account["written"]["train"]
        assert 0 < there < 200
    shards_before = len(list(out.glob("*/*.tfrecord")))
    process = start("Flink cluster", tmp_path / "log", **variables)
    try:
        wait_for(moment, cluster, shards_before, process, out)
        cluster.kill_task_manager()
        cluster.start_task_manager()
        assert process.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text(errors="replace")[-4000:]
    finally:
        kill(process)
    assert cluster.get(f"jobs/{cluster.last_job()}/exceptions")["exceptionHistory"]["entries"]
    found = Run.of(out)
    assert found.files == expected.files
    account = found.account
    assert account["balanced"] and account["expected"] == expected.account["expected"]
    assert account["written"]["train"] == expected.account["written"]["train"] - there
    assert account["existing"].get("train", 0) == there
