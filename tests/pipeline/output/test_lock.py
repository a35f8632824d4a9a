"""One run at a time in a folder: real processes, killed, in namespaces of their own, and all at once."""

import ctypes
import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from forking import CONTEXT

from pipeline.output import lock
from pipeline.output.lock import lock_folder
from pipeline.output.lock_owner import LockOwner
from pipeline.output.run_files import run_path
from pipeline.process.ending import catch_signals
from transforms.errors import OutputError, SettingError
from transforms.features.folder_shards import LOCK_FILE, ShardNotes
from transforms.storage.files import write_atomic

_CLONE_NEWPID = 0x20000000
ME = LockOwner.this_process()


def leave(output, owner: LockOwner) -> None:
    write_atomic(run_path(str(output), LOCK_FILE), owner.encode())


def is_free(output) -> bool:
    path = Path(output) / "_run" / LOCK_FILE
    try:
        with lock_folder(str(output)) as run:
            assert json.loads(path.read_bytes())["run"] == run
            return True
    except SettingError as error:
        assert f"--output={output}: another run is using this folder (process " in str(error)
        assert f"if you know that it is dead, delete {path}" in str(error)
        return False


def take(events) -> str | int:
    assert events._reader.poll(60)
    return events.get()


def hold(output: str, events, release) -> None:
    """Reports "held" or "refused", and keeps the lock until it is released."""
    lock.BEAT_S, lock.DEAD_S, lock._POLL_S = 0.1, 2.0, 0.05
    try:
        with lock_folder(output, "go on"):
            events.put("held")
            release.wait(60)
    except SettingError:
        events.put("refused")


def in_own_namespace(action: Callable[..., None], events, *arguments) -> None:
    """Runs a function in a process with its own PID namespace, as in a container."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWPID):
        events.put(f"unshare: {os.strerror(ctypes.get_errno())}")
        return
    if not (pid := os.fork()):
        os.setsid()
        action(*arguments)
        os._exit(0)
    events.put(pid)
    os.waitpid(pid, 0)


def started(action: Callable[..., None], *arguments) -> multiprocessing.Process:
    process = CONTEXT.Process(target=action, args=arguments)
    process.start()
    return process


@pytest.fixture
def quick(monkeypatch):
    for name, seconds in (("BEAT_S", 0.1), ("DEAD_S", 2.0), ("_POLL_S", 0.05)):
        monkeypatch.setattr(lock, name, seconds)


def test_a_folder_is_locked_until_the_end(tmp_path):
    with lock_folder(str(tmp_path)):
        assert not is_free(tmp_path)
        assert is_free(tmp_path / "other")
    assert is_free(tmp_path)
    with pytest.raises(ZeroDivisionError), lock_folder(str(tmp_path)):
        _ = 1 / 0
    assert is_free(tmp_path)
    assert not list((tmp_path / "_run").iterdir())


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_at_once(tmp_path, capsys):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    theirs = dataclasses.replace(ME, run="theirs", pid=process.pid, process_started=ticks)
    leave(tmp_path, theirs)
    assert not is_free(tmp_path)
    process.kill()
    # A zombie until somebody waits for it.
    time.sleep(0.2)
    assert is_free(tmp_path)
    process.wait()
    leave(tmp_path, theirs)
    assert is_free(tmp_path)
    # The number is another process's now.
    leave(tmp_path, dataclasses.replace(ME, run="theirs", process_started=ME.process_started - 100))
    assert is_free(tmp_path)
    assert "waiting" not in capsys.readouterr().err


@pytest.mark.integration  # seconds each
@pytest.mark.parametrize(
    "elsewhere", [{"host": "elsewhere", "boot_id": "x"}, {"boot_id": "x"}, {"pid_namespace": "pid:[1]"}]
)
@pytest.mark.parametrize("since", ["2100-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"])
def test_clocks_and_host_names_are_ignored(tmp_path, quick, capsys, elsewhere, since):
    """An owner elsewhere is dead if it wrote no heartbeat while this process watched."""
    leave(tmp_path, dataclasses.replace(ME, run="theirs", since=since, pid=1, **elsewhere))
    begun = time.monotonic()
    assert is_free(tmp_path)
    assert time.monotonic() - begun >= 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/_run/lock.json: process 1 on " in said and "waiting up to 2 s for a heartbeat" in said


def test_heartbeats_show_that_an_owner_in_another_namespace_lives(tmp_path, quick):
    """Two containers with the same host name do not see each other's processes."""
    events, release = CONTEXT.SimpleQueue(), CONTEXT.Event()
    process = started(in_own_namespace, hold, events, str(tmp_path), events, release)
    first = take(events)
    if isinstance(first, str) and first.startswith("unshare"):
        pytest.skip(first)
    found = {first, take(events)}
    assert "held" in found
    (pid,) = found - {"held"}
    owner = LockOwner.decode((tmp_path / "_run" / LOCK_FILE).read_bytes(), "")
    assert owner.host == ME.host and owner.boot_id == ME.boot_id
    assert owner.pid_namespace != ME.pid_namespace and owner.pid == 1
    assert owner.is_alive() is None
    begun = time.monotonic()
    assert not is_free(tmp_path)
    assert time.monotonic() - begun < 2  # at its first beat
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    assert is_free(tmp_path)
    assert time.monotonic() - begun >= 2
    process.join()


def test_a_process_in_another_namespace_does_not_take_an_owner_for_dead(tmp_path, quick):
    events, release = CONTEXT.SimpleQueue(), CONTEXT.Event()
    with lock_folder(str(tmp_path)):
        process = started(in_own_namespace, hold, events, str(tmp_path), events, release)
        found = take(events)
        if isinstance(found, str) and found.startswith("unshare"):
            pytest.skip(found)
        assert take(events) == "refused"
        process.join()


@pytest.mark.parametrize("left", ["nothing", "a dead run's lock"])
def test_one_of_several_processes_that_start_together_gets_the_lock(tmp_path, left):
    for number in range(5):
        output, events, release = tmp_path / str(number), CONTEXT.SimpleQueue(), CONTEXT.Event()
        if left != "nothing":
            leave(output, dataclasses.replace(ME, run="dead", process_started=1))
        processes = [started(hold, str(output), events, release) for _ in range(6)]
        found = sorted(take(events) for _ in processes)
        release.set()
        for process in processes:
            process.join()
        assert found == ["held", *["refused"] * 5]
        assert not list((output / "_run").iterdir())


def test_a_run_writes_heartbeats(tmp_path, quick):
    path = tmp_path / "_run" / LOCK_FILE
    with lock_folder(str(tmp_path)):
        first = json.loads(path.read_text())
        for _ in range(500):
            time.sleep(0.01)
            if (now := json.loads(path.read_text()))["beat"] > first["beat"] + 1:
                break
        assert now["beat"] > first["beat"] + 1 and now["run"] == first["run"]
    assert not path.exists()


def test_a_failed_heartbeat_is_followed_by_others(tmp_path, quick, monkeypatch):
    replace, failed = lock.exclusive.replace, threading.Event()

    def fail_once(*arguments):
        if not failed.is_set():
            failed.set()
            raise OSError("the server is busy")
        return replace(*arguments)

    monkeypatch.setattr(lock.exclusive, "replace", fail_once)
    path = tmp_path / "_run" / LOCK_FILE
    with lock_folder(str(tmp_path)):
        first = path.read_text()
        assert failed.wait(60)
        for _ in range(500):
            time.sleep(0.01)
            if path.read_text() != first:
                break
        assert json.loads(path.read_text())["beat"] > json.loads(first)["beat"]


def test_the_end_waits_for_a_heartbeat_that_is_being_written(tmp_path, quick, monkeypatch):
    """Otherwise the heartbeat would write the lock again after it was released."""
    replace, begun = lock.exclusive.replace, threading.Event()

    def slow(*arguments):
        begun.set()
        time.sleep(0.3)
        return replace(*arguments)

    monkeypatch.setattr(lock.exclusive, "replace", slow)
    with lock_folder(str(tmp_path)):
        assert begun.wait(60)
    assert not list((tmp_path / "_run").iterdir())
    time.sleep(0.5)
    assert not list((tmp_path / "_run").iterdir())


def test_a_run_never_deletes_the_lock_of_another(tmp_path):
    theirs = dataclasses.replace(ME, run="theirs")
    with lock_folder(str(tmp_path)):
        leave(tmp_path, theirs)
    assert (tmp_path / "_run" / LOCK_FILE).read_bytes() == theirs.encode()


def test_without_exclusive_writes_the_last_writer_has_the_lock(tmp_path, monkeypatch):
    """Each run waits until the others have written, and then reads whose lock it is."""
    theirs = dataclasses.replace(ME, run="theirs")
    slept = []

    def write_meanwhile(seconds: float) -> None:
        slept.append(seconds)
        leave(tmp_path, theirs)

    monkeypatch.setattr(lock.exclusive, "is_atomic", lambda path: False)
    monkeypatch.setattr(lock.time, "sleep", write_meanwhile)
    assert not is_free(tmp_path)
    assert slept == [lock._SETTLE_S]
    assert (tmp_path / "_run" / LOCK_FILE).read_bytes() == theirs.encode()


def hold_with_child(output: str, events, log: str) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    catch_signals("pipeline.run")
    events.put(subprocess.Popen(["sleep", "100"]).pid)
    hold(output, events, threading.Event())


def ending(tmp_path, end: Callable[[int, Path], None]) -> tuple[int | None, str]:
    """A process that has the lock of a folder; its exit status and output."""
    events, log = CONTEXT.SimpleQueue(), tmp_path / "log"
    process = started(hold_with_child, str(tmp_path), events, str(log))
    child = take(events)
    assert take(events) == "held"
    begun = time.monotonic()
    end(process.pid, tmp_path / "_run" / LOCK_FILE)
    process.join(30)
    assert time.monotonic() - begun < 2
    time.sleep(0.1)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    return process.exitcode, log.read_text()


@pytest.mark.parametrize(
    "number, words",
    [
        (signal.SIGTERM, "was terminated"),
        (signal.SIGINT, "was interrupted"),
        (signal.SIGHUP, "lost its terminal"),
    ],
)
def test_a_signal_releases_the_lock(tmp_path, number, words):
    status, said = ending(tmp_path, lambda pid, path: os.kill(pid, number))
    assert status == 128 + number and said.strip().splitlines() == [
        f"pipeline.run: {words} ({number.name}); go on"
    ]
    assert not list((tmp_path / "_run").iterdir())
    assert is_free(tmp_path)


def test_a_lock_that_was_created_but_cannot_be_read_again_is_released(tmp_path, quick, monkeypatch):
    def fail(path: str) -> None:
        assert Path(path).exists()
        raise OSError("the server went away")

    monkeypatch.setattr(lock, "_SETTLE_S", 0.0)
    monkeypatch.setattr(lock.exclusive, "is_atomic", lambda path: False)
    with monkeypatch.context() as patch:
        patch.setattr(lock.exclusive, "read", fail)
        with pytest.raises(SettingError, match="the server went away"), lock_folder(str(tmp_path)):
            pass
    assert not list((tmp_path / "_run").iterdir())
    assert is_free(tmp_path)


@pytest.mark.parametrize(
    "call, number", [("fsync", 1), ("link", 1), ("fsync", 2), ("replace", 2), ("replace", 3)]
)
@pytest.mark.parametrize("delay_s", [0.0, 0.15])
def test_a_signal_while_the_lock_is_created_or_a_heartbeat_is_written_releases_it(
    tmp_path, call, number, delay_s
):
    """The first file belongs to the creation, the second to the first heartbeat."""
    events = CONTEXT.SimpleQueue()
    process = started(hold_with_slow, call, str(tmp_path), events)
    for _ in range(number):
        assert take(events) == call
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM
    assert not list((tmp_path / "_run").iterdir())


def hold_with_slow(call: str, output: str, events) -> None:
    """Reports the calls of a function that writes the lock or its temporary file, and makes them slow."""
    action = getattr(os, call)

    def slow(*arguments) -> None:
        events.put(call)
        time.sleep(0.1)
        action(*arguments)
        time.sleep(0.1)

    setattr(os, call, slow)
    hold_with_child(output, CONTEXT.SimpleQueue(), os.devnull)


def test_a_run_that_lost_its_lock_ends_and_keeps_the_new_lock(tmp_path):
    theirs = dataclasses.replace(ME, run="theirs", host="elsewhere", boot_id="x")
    status, said = ending(tmp_path, lambda pid, path: leave(tmp_path, theirs))
    assert status == 1
    assert f"{tmp_path}/_run/lock.json: this run has lost the lock (another run took it)" in said
    assert (tmp_path / "_run" / LOCK_FILE).read_bytes() == theirs.encode()


def test_a_run_whose_lock_was_deleted_ends(tmp_path):
    status, said = ending(tmp_path, lambda pid, path: path.unlink())
    assert status == 1 and "has lost the lock (it was deleted)" in said


def test_a_worker_that_outlives_its_run_writes_no_shard_when_another_has_the_folder(tmp_path):
    notes = ShardNotes(str(tmp_path), "mine")
    notes.note("train", "ab", b"")  # no lock: a job that was handed over
    leave(tmp_path, dataclasses.replace(ME, run="mine"))
    notes.note("train", "ac", b"")
    for lock_bytes in (dataclasses.replace(ME, run="theirs").encode(), b"{", b"[]"):
        write_atomic(run_path(str(tmp_path), LOCK_FILE), lock_bytes)
        with pytest.raises(OutputError, match="another run has this folder now, so this one stops"):
            notes.note("train", "ad", b"")
    assert not notes.owns("train", "ad") and notes.owns("train", "ac")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"run": "x"}', json.dumps({**vars(ME), "pid": "1"})]
)
def test_an_invalid_lock_is_one_line_with_a_fix(tmp_path, text):
    path = tmp_path / "_run" / LOCK_FILE
    write_atomic(str(path), text.encode())
    with (
        pytest.raises(
            SettingError, match=r"lock\.json: is not a lock .* delete the lock and run the same command"
        ),
        lock_folder(str(tmp_path)),
    ):
        pass
    assert path.read_text() == text


def test_a_lock_of_a_later_version_is_a_lock(tmp_path):
    write_atomic(run_path(str(tmp_path), LOCK_FILE), json.dumps({**vars(ME), "more": [1]}).encode())
    assert not is_free(tmp_path)
