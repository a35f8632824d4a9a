import dataclasses
import json
import multiprocessing
import socket
import subprocess
import sys
import time

import pytest

from pipeline import lock
from pipeline.graph import run_path
from pipeline.lock import LOCK_FILE, Holder, lock_folder
from transforms.errors import SettingError
from transforms.files import put_file


def leave(output, holder: Holder) -> None:
    put_file(run_path(str(output), LOCK_FILE), json.dumps(dataclasses.asdict(holder)).encode())


def is_free(output) -> bool:
    try:
        with lock_folder(str(output)):
            return True
    except SettingError as error:
        assert f"--output={output}: another run is at work there" in str(error)
        return False


def test_a_folder_is_held_until_the_end_and_no_longer(tmp_path):
    with lock_folder(str(tmp_path)):
        assert not is_free(tmp_path)
        assert is_free(tmp_path / "other")
    assert is_free(tmp_path)
    with pytest.raises(ZeroDivisionError), lock_folder(str(tmp_path)):
        _ = 1 / 0
    assert is_free(tmp_path)
    assert not list((tmp_path / "_run").iterdir())


def test_a_dead_process_holds_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    me = Holder.this_process()
    started = lock.psutil.Process(process.pid).create_time()
    theirs = dataclasses.replace(me, run="theirs", pid=process.pid, process_started=started)
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
    leave(tmp_path, dataclasses.replace(me, run="theirs", process_started=me.process_started - 100))
    assert is_free(tmp_path)


def test_a_process_elsewhere_is_alive_while_it_says_so(tmp_path):
    there = dataclasses.replace(Holder.this_process(), run="theirs", host=f"not-{socket.gethostname()}")
    leave(tmp_path, there)
    assert not is_free(tmp_path)
    leave(tmp_path, dataclasses.replace(there, alive=time.time() - 200))
    assert is_free(tmp_path)


def test_a_run_says_that_it_is_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_S", 0.01)
    path = tmp_path / "_run" / LOCK_FILE
    with lock_folder(str(tmp_path)):
        first = json.loads(path.read_text())
        for _ in range(500):
            time.sleep(0.01)
            if (now := json.loads(path.read_text()))["alive"] > first["alive"]:
                break
        assert now["alive"] > first["alive"] and now["run"] == first["run"]
    assert not path.exists()


def test_a_lock_that_cannot_be_read_is_void(tmp_path):
    put_file(run_path(str(tmp_path), LOCK_FILE), b"{")
    assert is_free(tmp_path)


def hold(output: str, results) -> None:
    lock._SETTLE_S = 0.5
    try:
        with lock_folder(output):
            results.put("held")
            time.sleep(2)
    except SettingError:
        results.put("refused")


def test_of_processes_that_start_together_one_has_the_folder(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.lock"])
    results = context.Queue()
    processes = [context.Process(target=hold, args=(str(tmp_path), results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert found == ["held", "refused", "refused", "refused"]
