"""Runs whose files are all in a bucket, and buckets that fail, close connections, or are down for a while."""

import dataclasses
import gzip
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from commands import run_command
from servers import Server, gcs, proxy, s3
from sounds import write_bad_files, write_noise
from test_main_job import run_pipeline

from pipeline.output.lock_owner import LockOwner
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import export_keras_weights

pytestmark = [pytest.mark.integration, pytest.mark.servers]

NUM_CLIPS = 30
AWAY_S = 5.0
SPEECH = "/m/09x0r"
FAULTS = {
    "busy": (proxy.BUSY, proxy.BUSY_LATE),
    "cut": (proxy.CUT_REQUEST, proxy.CUT_ANSWER),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Creates all inputs of a run: audio, some of it bad, a segments CSV, labels, weights, PCA parameters."""
    folder = tmp_path_factory.mktemp("corpus")
    ids = [f"{chr(97 + n % 10)}{n % 2}{n}" for n in range(NUM_CLIPS)]
    for n, video_id in enumerate(ids):
        write_noise(folder / "audio" / f"{video_id}.wav", 1.0 + n % 4, 16_000, n)
    ids += write_bad_files(folder / "audio")
    rows = [f'{video_id}, 0.000, 5.000, "{SPEECH}"\n' for video_id in ids]
    (folder / "eval_segments.csv").write_text("".join(rows))
    (folder / "labels.csv").write_text(f'index,mid,display_name\n0,{SPEECH},"Speech"\n')
    export_keras_weights(read_weights("random:0"), str(folder / "model.weights.h5"))
    vectors = np.linalg.qr(np.random.default_rng(3).standard_normal((128, 128)))[0]
    np.savez(folder / "pca.npz", pca_eigen_vectors=vectors, pca_means=np.zeros((128, 1)))
    return folder


def inputs(root: str | Path) -> list[str]:
    return [
        f"--input={root}/audio/**",
        f"--segments={root}/eval_segments.csv",
        f"--class_labels={root}/labels.csv",
        f"--weights={root}/model.weights.h5",
        f"--pca_params={root}/pca.npz",
        "--max_reject_fraction=1",
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory) -> dict[str, bytes]:
    """Returns the files that a run on local files writes."""
    output = tmp_path_factory.mktemp("local") / "out"
    result = run_pipeline(*inputs(corpus), f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert f"clips expected {NUM_CLIPS + 5} = written {NUM_CLIPS} + rejected 5" in result.stdout
    return files(output)


def text(name: str, data: bytes) -> bytes:
    return gzip.decompress(data) if name.endswith(".gz") else data


def check_same(found: dict[str, bytes], root: str, expected: dict[str, bytes], corpus: Path) -> None:
    """Asserts that a folder equals that of a local run: every shard, list and the account."""
    assert found.keys() == expected.keys()
    there = {
        name: text(name, data).replace(root.encode(), str(corpus).encode()) for name, data in found.items()
    }
    differing = {name for name in there if there[name] != text(name, expected[name])}
    assert differing == {"_run/log.txt", "_run/manifest.json", "_run/report.html"}  # which contain times
    accounts = [json.loads(folder["_run/manifest.json"])["account"] for folder in (found, expected)]
    assert accounts[0] == accounts[1] and accounts[0]["balanced"]


@pytest.fixture(scope="module", params=[gcs, s3], ids=["gs", "s3"])
def server(request, corpus, tmp_path_factory) -> Iterator[Server]:
    with request.param.serve(tmp_path_factory.mktemp("server")) as server:
        for name, data in files(corpus).items():
            server.put(name, data)
        yield server


@pytest.fixture
def environment(server: Server, tmp_path) -> dict[str, str]:
    """Returns the variables for access to the server, and an empty cache, so that weights are downloaded."""
    return {**server.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_all_is_in_the_bucket_and_the_next_run_resumes(server: Server, environment, corpus, expected):
    output = f"{server.root}/out"
    flags = [*inputs(server.root), f"--output={output}", *server.flags]
    result = run_pipeline(*flags, **environment)
    assert result.returncode == 0, result.stderr
    check_same(server.get("out"), server.root, expected, corpus)

    checks = ["--strict", "--manifest", f"--segments={server.root}/eval_segments.csv"]
    checks += [f"--class_labels={server.root}/labels.csv", *server.flags]
    result = run_command("-m", "pipeline.verify", output, *checks, **environment)
    assert result.returncode == 0 and "is good" in result.stdout, result.stdout + result.stderr

    shards = {name: data for name, data in server.get("out").items() if name.endswith(".tfrecord")}
    added = inputs(server.root)
    server.put("more/a0more.wav", (corpus / "audio" / "a00.wav").read_bytes())
    rows = (corpus / "eval_segments.csv").read_text() + f'a0more, 0.000, 5.000, "{SPEECH}"\n'
    server.put("eval_segments.csv", rows.encode())
    try:
        result = run_pipeline(*added, f"--input={server.root}/more/*", *flags[len(added) :], **environment)
    finally:
        server.put("eval_segments.csv", (corpus / "eval_segments.csv").read_bytes())
    assert result.returncode == 0, result.stderr
    assert f"= written 1 + rejected 5 + existing {NUM_CLIPS}" in result.stdout
    now = server.get("out")
    changed = {name for name, data in shards.items() if now[name] != data}
    assert changed == {"eval/a0.tfrecord"}
    assert len(json.loads(now["_run/manifest.json"])["history"]) == 1


def test_one_run_at_a_time_has_a_folder_in_a_bucket(server: Server, environment):
    alive = dataclasses.replace(LockOwner.this_process(), run="theirs", host="elsewhere", boot_id="x")
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(2):
            server.put("held/_run/lock.json", dataclasses.replace(alive, beat=time.time_ns()).encode())

    server.put("held/_run/lock.json", alive.encode())
    flags = [*inputs(server.root), f"--output={server.root}/held", *server.flags]
    with ThreadPoolExecutor() as pool:
        pool.submit(beat)
        try:
            result = run_pipeline(*flags, **environment)
        finally:
            ended.set()
    assert result.returncode == 2 and "another run is using this folder" in result.stderr, result.stderr
    assert server.get("held").keys() == {"_run/lock.json"}


def faulty_inputs(server: Server, corpus: Path) -> list[str]:
    """Returns all inputs; without the weights on moto, which sends all 288 MB again for each part."""
    flags = inputs(server.root)
    if server.root.startswith("s3:"):
        flags.append(f"--weights={corpus}/model.weights.h5")
    return flags


@pytest.mark.parametrize("kinds", FAULTS)
def test_one_request_in_five_that_fails_changes_nothing(
    server: Server, environment, corpus, expected, kinds, capsys
):
    assert server.faults
    before = server.faults.counts.copy()
    server.faults.kinds = FAULTS[kinds]
    try:
        result = run_pipeline(
            *faulty_inputs(server, corpus), f"--output={server.root}/{kinds}", *server.flags, **environment
        )
    finally:
        server.faults.kinds = ()
    happened = server.faults.counts - before
    with capsys.disabled():
        print(f"\n{server.root} {dict(happened)}")
    assert result.returncode == 0, result.stderr
    check_same(server.get(kinds), server.root, expected, corpus)
    assert all(happened[kind] > 10 for kind in FAULTS[kinds])
    assert 0.15 < sum(happened[kind] for kind in FAULTS[kinds]) / happened["requests"] < 0.25


def test_a_server_that_goes_away_in_the_middle_changes_nothing(server: Server, environment, corpus, expected):
    assert server.restart
    restarted = threading.Event()

    def restart_when_shards_appear() -> None:
        while not any(name.endswith(".tfrecord") for name in server.names("again")):
            time.sleep(0.05)
        server.restart(AWAY_S)
        restarted.set()

    thread = threading.Thread(target=restart_when_shards_appear, daemon=True)
    thread.start()
    flags = [*faulty_inputs(server, corpus), f"--output={server.root}/again", *server.flags]
    result = run_pipeline(*flags, **environment)
    assert restarted.is_set()
    assert result.returncode == 0, result.stderr
    check_same(server.get("again"), server.root, expected, corpus)
