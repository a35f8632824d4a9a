"""Workers end with their launcher, and do not write after it has ended."""

import os
import signal
import time
from pathlib import Path

import pytest
from forking import CONTEXT

from transforms import launcher
from transforms.launcher import Launcher, process_started
from transforms.storage.files import write_atomic


def work(reports, events, folder: str, looks: bool) -> None:
    """A worker that writes one file, and another one after an event."""
    if not looks:
        launcher._POLL_S = 60.0
    launcher.follow_named_launcher()
    write_atomic(f"{folder}/first", b"x")
    reports.put(os.getpid())
    events.wait(60)
    write_atomic(f"{folder}/second", b"x")
    reports.put("written")
    time.sleep(60)


def launch(reports, *arguments) -> None:
    launcher.name_launcher()
    if not os.fork():
        work(reports, *arguments)
        os._exit(0)
    time.sleep(60)


@pytest.fixture
def family(tmp_path):
    """A launcher and its worker: process, the worker's pid, its reports and the event it waits for."""
    started = []

    def start(looks: bool = True):
        reports, events = CONTEXT.SimpleQueue(), CONTEXT.Event()
        process = CONTEXT.Process(target=launch, args=(reports, events, str(tmp_path), looks))
        process.start()
        worker = reports.get()
        started.extend([process.pid, worker])
        return process, worker, reports, events

    yield start
    for pid in started:
        if process_started(pid) is not None:
            os.kill(pid, signal.SIGKILL)


def seconds_of(pid: int) -> float:
    """Return how long a process still runs, in seconds up to 5."""
    begun = time.monotonic()
    while process_started(pid) is not None and time.monotonic() - begun < 5:
        time.sleep(0.01)
    return time.monotonic() - begun


def test_a_worker_ends_within_a_second_of_its_launcher(family):
    process, worker, *_ = family()
    time.sleep(0.5)
    assert process_started(worker) is not None
    process.kill()  # and stays a zombie until it is joined
    assert seconds_of(worker) < 1
    process.join()


def test_a_worker_without_its_launcher_does_not_write(family, tmp_path):
    process, worker, _, events = family(looks=False)
    process.kill()
    process.join()
    assert process_started(worker) is not None
    events.set()
    assert seconds_of(worker) < 1
    assert (tmp_path / "first").exists() and not (tmp_path / "second").exists()


def test_a_worker_with_its_launcher_writes(family, tmp_path):
    process, _, reports, events = family(looks=False)
    events.set()
    assert reports.get() == "written" and (tmp_path / "second").exists()
    process.kill()
    process.join()


def test_a_stopped_launcher_counts_as_alive(family):
    process, worker, *_ = family()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.6)
    assert process_started(worker) is not None
    process.kill()
    process.join()


def test_a_later_process_with_the_launchers_pid_is_not_the_launcher():
    me = Launcher.this_process()
    assert me is not None and me.is_alive()
    assert not me._replace(started=me.started - 100).is_alive()


def test_the_launchers_name_is_exact_and_without_one_no_process_is_followed(monkeypatch):
    followed = []
    monkeypatch.setattr(launcher, "follow_launcher", followed.append)
    monkeypatch.setenv(launcher._VARIABLE, "")
    launcher.follow_named_launcher()
    assert followed == []
    launcher.name_launcher()
    launcher.follow_named_launcher()
    assert followed == [Launcher.this_process()]


def test_a_process_that_is_not_a_worker_follows_no_launcher(tmp_path):
    write_atomic(f"{tmp_path}/x", b"x")
    assert launcher._followed is None and Path(tmp_path, "x").exists()
