"""Killed processes, full disks, folders that become read-only: no record is lost or truncated."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from commands import ROOT, Launcher
from sounds import write_bad_files, write_noise
from test_main_job import TRIAL, shards

from transforms.storage.tfrecord import read_records
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import export_keras_weights

pytestmark = pytest.mark.integration

NUM_CLIPS = 300
NUM_KILLS = 50


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> list[str]:
    """Returns the flags of a fast run: in 16-bit precision, and with random weights from a file."""
    path = tmp_path_factory.mktemp("weights") / "random.weights.h5"
    export_keras_weights(read_weights("random:0"), str(path))
    return [f"--weights={path}", "--precision=bfloat16", *TRIAL[1:]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(NUM_CLIPS - 5):
        write_noise(folder / f"{chr(97 + n % 20)}{n % 3}{n}.wav", 1.0 + n % 4 / 10, seed=n)
    write_bad_files(folder)
    return folder


def lists(output: Path) -> dict[str, bytes]:
    """Returns what a run wrote about its clips and shards, without the manifest, which contains times."""
    names = ("rejected-*.jsonl", "unmatched-*.jsonl", "shards.jsonl")
    return {path.name: path.read_bytes() for name in names for path in (output / "_run").glob(name)}


def check_whole(output: Path) -> int:
    """Reads every shard and verifies all its checksums; returns the number of shards."""
    paths = sorted(output.glob("*/*.tfrecord"))
    for path in paths:
        with path.open("rb") as file:
            assert list(read_records(file))
    return len(paths)


def sessions() -> set[int]:
    """Returns the session ids of all running processes; the launcher gives each run its own session."""
    found = set()
    for process in psutil.process_iter(["status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            with suppress(ProcessLookupError):
                found.add(os.getsid(process.pid))
    return found


def test_a_run_killed_at_any_moment_leaves_whole_shards_that_the_next_completes(corpus, trial, tmp_path):
    launcher = Launcher(tmp_path / "log.txt")
    flags = ["-m", "pipeline.run", *trial, "--runner=FnApiRunner", f"--input={corpus}/*"]
    for _ in range(2):  # the first run is slower
        started = time.monotonic()
        launcher.start(*flags, f"--output={tmp_path}/expected", "--overwrite")
        assert launcher.wait() == 0
        duration_s = time.monotonic() - started
    expected, expected_lists = shards(tmp_path / "expected"), lists(tmp_path / "expected")
    assert len(expected) == 60

    moments = random.Random(7)
    killed: list[int] = []
    partial = 0
    for attempt in range(2 * NUM_KILLS):
        output = tmp_path / f"attempt{attempt}"
        pid = launcher.start(*flags, f"--output={output}")
        if attempt % 2:  # at any moment of the run
            time.sleep(moments.uniform(0, duration_s))
        else:  # at any moment of the fraction of a second in which shards are written
            wanted = moments.randrange(len(expected))
            while len(list(output.glob("*/*.tfrecord"))) < wanted and psutil.pid_exists(pid):
                time.sleep(0.0005)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if launcher.wait() == 0:
            continue  # the run ended before the signal
        killed.append(pid)
        partial += 0 < check_whole(output) < len(expected)
        launcher.start(*flags, f"--output={output}")
        assert launcher.wait() == 0
        assert shards(output) == expected
        assert lists(output) == expected_lists
        known = {"manifest.json", "log.txt", "report.html", *expected_lists}
        known |= {f"{name.removesuffix('.tfrecord').replace('/', '=')}.jsonl.gz" for name in expected}
        assert {path.name for path in output.rglob("*") if path.is_file()} - known == {
            Path(name).name for name in expected
        }
        shutil.rmtree(output)
        if len(killed) == NUM_KILLS:
            break
    launcher.close()
    print(f"{len(killed)} runs killed, {partial} of them with some of the shards in place")
    assert len(killed) == NUM_KILLS and partial > NUM_KILLS / 4
    time.sleep(1)
    assert not sessions() & set(killed), "decoders outlive the run that started them"


def in_own_mounts(script: str, **values: str) -> subprocess.CompletedProcess:
    """Runs a shell script that may mount filesystems that are not visible to other processes."""
    unshare = ["unshare", "--map-root-user", "--mount"] if os.getuid() else ["unshare", "--mount"]
    result = subprocess.run(
        [*unshare, "bash", "-euc", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, **values},
    )
    assert "mount: " not in result.stderr, result.stderr
    return result


def test_a_full_disk_is_one_line_and_more_room_is_enough_to_go_on(corpus, tmp_path):
    (tmp_path / "disk").mkdir()
    command = " ".join([*TRIAL, f"--input='{corpus}/*'"])
    result = in_own_mounts(
        """
        mount -t tmpfs -o size=200k tmpfs $DISK
        status=0; $PYTHON -m pipeline.run $COMMAND --output=$DISK/out >&2 || status=$?
        echo status $status
        find $DISK -name '*.tmp' | grep . || echo nothing temporary
        ls $DISK/out/*/*.tfrecord | wc -l
        mount -o remount,size=50m $DISK
        $PYTHON -m pipeline.run $COMMAND --output=$DISK/out
        $PYTHON -m pipeline.verify $DISK/out --strict
        cp -r $DISK/out $COPY
        """.replace("$COMMAND", command),
        DISK=str(tmp_path / "disk"),
        COPY=str(tmp_path / "copy"),
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["status 1", "nothing temporary"] and int(lines[2]) > 0
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    assert len([line for line in result.stderr.splitlines() if "error" in line.lower()]) == 1, result.stderr
    account = json.loads((tmp_path / "copy" / "_run" / "manifest.json").read_text())["account"]
    assert account["existing"]["train"] > 0 and account["balanced"]
    check_whole(tmp_path / "copy")


def test_a_folder_that_turns_read_only_is_one_line(corpus, tmp_path):
    (tmp_path / "disk").mkdir()
    command = " ".join([*TRIAL, f"--input='{corpus}/*'"])
    result = in_own_mounts(
        """
        mount -t tmpfs -o size=50m tmpfs $DISK
        $PYTHON -m pipeline.run $COMMAND --output=$DISK/out >&2 & run=$!
        while [ ! -e $DISK/out/_run/manifest.json ]; do sleep 0.1; done
        until mount -o remount,ro $DISK 2>/dev/null; do sleep 0.05; done
        status=0; wait $run || status=$?
        echo status $status
        mount -o remount,rw $DISK
        $PYTHON -m pipeline.run $COMMAND --output=$DISK/out
        cp -r $DISK/out $COPY
        """.replace("$COMMAND", command),
        DISK=str(tmp_path / "disk"),
        COPY=str(tmp_path / "copy"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("status 1\n")
    assert "Read-only file system" in result.stderr and "Traceback" not in result.stderr, result.stderr
    assert check_whole(tmp_path / "copy") == 60
