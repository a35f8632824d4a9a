"""A command, or the next one of the same user, deletes its temporary files, and no others."""

import itertools
import multiprocessing
import os
import signal
import tempfile
import time
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest
from forking import CONTEXT
from interrupting import wait_for

from pipeline.process.ending import catch_signals
from pipeline.process.temporary import own_temporary_folder


def hold(place: str, name: str) -> None:
    tempfile.tempdir = place
    with own_temporary_folder():
        tempfile.mkdtemp(prefix="progress-")
        Path(tempfile.mkstemp(prefix="file-")[1]).write_text("x")
        Path(place, name).touch()
        time.sleep(60)


@pytest.fixture
def place(tmp_path, monkeypatch):
    get_temp_dir()  # creates the folder of multiprocessing, which is not deleted
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(place):
    processes = []

    def start() -> multiprocessing.Process:
        name = f"ready{len(processes)}"
        process = CONTEXT.Process(target=hold, args=(str(place), name))
        process.start()
        processes.append(process)
        wait_for((place / name).exists)
        (place / name).unlink()
        return process

    yield start
    for process in processes:
        process.kill()
        process.join()


def sweep() -> None:
    with own_temporary_folder():
        pass


def test_temporary_files_are_in_the_folder_and_deleted_with_it(place):
    with own_temporary_folder():
        (folder,) = place.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(folder)
        tempfile.mkdtemp()
        (folder / "link").symlink_to("/")
    assert list(place.iterdir()) == []
    assert Path("/").exists()
    assert os.environ.get("TMPDIR") != str(folder)


def test_the_next_command_deletes_the_folders_of_killed_commands_only(place, holder):
    first, _ = holder(), holder()
    assert len(list(place.iterdir())) == 2
    before = {path: sorted(path.rglob("*")) for path in place.iterdir()}
    sweep()
    assert {path: sorted(path.rglob("*")) for path in place.iterdir()} == before
    first.kill()
    first.join()
    sweep()
    (alive,) = place.iterdir()
    assert sorted(alive.rglob("*")) == before[alive]


def test_files_that_threads_add_during_the_deletion_are_deleted(place, monkeypatch):
    scan, late = os.scandir, iter(range(5))

    def scan_and_add(path):
        if path != str(folder):
            return scan(path)
        entries = list(scan(path))
        for number in itertools.islice(late, 1):
            (folder / f"late{number}").mkdir()
        return entries

    with own_temporary_folder():
        (folder,) = place.iterdir()
        monkeypatch.setattr(os, "scandir", scan_and_add)
    assert next(late, None) is None and list(place.iterdir()) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.15])
def test_a_signal_while_the_folder_is_created_leaves_none(place, delay_s):
    events = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=hold_slowly, args=(str(place), events))
    process.start()
    assert events.get() == "begun"
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM
    assert list(place.iterdir()) == []


def hold_slowly(place: str, events) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    catch_signals("pipeline.run")
    make = tempfile.mkdtemp

    def slow(*arguments, **named) -> str:
        events.put("begun")
        time.sleep(0.1)
        folder = make(*arguments, **named)
        time.sleep(0.1)
        return folder

    tempfile.mkdtemp = slow
    hold(place, "ready")


def test_a_stopped_command_counts_as_alive(place, holder):
    process = holder()
    os.kill(process.pid, signal.SIGSTOP)
    sweep()
    assert len(list(place.iterdir())) == 1


def test_other_files_with_similar_names_stay(place):
    target = place / "target"
    (target / "kept").mkdir(parents=True)
    (target / "lock").touch()
    (place / "audioset-link").symlink_to(target)
    (place / "audioset-file").write_text("x")
    (place / "audioset-without-lock").mkdir()
    (place / "audioset-without-lock" / "mine").touch()
    (place / "audioset-linked-lock").mkdir()
    (place / "audioset-linked-lock" / "lock").symlink_to(target / "lock")
    (place / "progress-abc").mkdir()
    before = sorted(place.rglob("*"))
    sweep()
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_the_folder_of_another_user_stays(place, holder):
    process = holder()
    (folder,) = place.iterdir()
    os.chown(folder, 12345, 12345)
    process.kill()
    process.join()
    sweep()
    assert folder.exists()


def test_an_incomplete_deletion_and_an_incomplete_start_are_deleted_too(place):
    (place / "audioset-empty").mkdir()  # killed before it created the lock
    (place / "audioset-half").mkdir()
    (place / "audioset-half" / "lock").touch()
    sweep()
    assert list(place.iterdir()) == []


def come_and_go(place: str, failed) -> None:
    tempfile.tempdir = place
    for _ in range(50):
        with own_temporary_folder():
            path = Path(tempfile.gettempdir(), "mine")
            path.touch()
            if not path.exists():
                failed.put("taken away")
    failed.put("")


def test_simultaneous_commands_do_not_delete_each_others_folders(place):
    failed = CONTEXT.SimpleQueue()
    processes = [CONTEXT.Process(target=come_and_go, args=(str(place), failed)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert [failed.get() for _ in processes] == [""] * 4
    assert list(place.iterdir()) == []
