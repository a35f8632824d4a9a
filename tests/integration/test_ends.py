"""Runs that are interrupted, or whose launcher is killed, at many moments and in each mode."""

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from commands import Launcher
from interrupting import (
    CTRL_C,
    LIMIT_S,
    catches,
    interrupt,
    kill_session,
    moments,
    processes_left,
    seconds_until_gone,
    session,
    wait_for,
)
from sounds import write_bad_files, write_noise
from test_faults import lists
from test_main_job import TRIAL, VARIANTS, shards

pytestmark = pytest.mark.integration

NUM_INTERRUPTIONS = 20
MODES = {
    "in_memory": ["--runner=FnApiRunner"],
    "two_threads": ["--runner=FnApiRunner", *VARIANTS["two_threads"]],
    "two_processes": ["--runner=FnApiRunner", *VARIANTS["two_processes"]],
    "portable": VARIANTS["portable"],
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(40):
        write_noise(folder / f"{chr(97 + n % 20)}{n % 3}{n}.wav", 3.0 + n % 4 / 10, seed=n)
    write_bad_files(folder)
    return folder


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    started = Launcher(tmp_path_factory.mktemp("launcher") / "log")
    yield started
    started.close()


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_at_any_moment_is_one_line_and_the_next_run_is_whole(corpus, launcher, tmp_path, mode):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = ["-m", "pipeline.run", *TRIAL, *MODES[mode], f"--input={corpus}/*"]
    for output in ("first", "expected"):  # the first run is slower, so its duration is not used
        begun = time.monotonic()
        launcher.start(*command, f"--output={tmp_path}/{output}", TMPDIR=str(temporary))
        assert launcher.wait() == 0
        duration_s = time.monotonic() - begun
    expected, expected_lists = shards(tmp_path / "expected"), lists(tmp_path / "expected")
    random, interrupted = moments(), 0
    for number in range(NUM_INTERRUPTIONS):
        output = tmp_path / str(number)
        ended = interrupt(
            launcher,
            [*command, f"--output={output}"],
            catches,  # before this, Python itself handles the signal
            random.uniform(0.2, duration_s),
            random.choice([CTRL_C, CTRL_C, signal.SIGTERM, signal.SIGHUP]),
            TMPDIR=str(temporary),
        )
        assert ended.left == []
        assert not (output / "_run" / "lock.json").exists()
        assert list(temporary.iterdir()) == []
        if ended.status:
            interrupted += 1
            assert ended.status in (129, 130, 143)
            assert ended.took_s < LIMIT_S
            said = [line for line in ended.lines if line.startswith("pipeline.run: ")]
            assert len(said) == 1 and said[0] == ended.lines[-1], ended.lines
            assert not any("Traceback" in line for line in ended.lines), "\n".join(ended.lines)
        if number % 4 == 0:  # test_faults checks this after every SIGKILL
            launcher.start(*command, f"--output={output}", TMPDIR=str(temporary))
            assert launcher.wait() == 0
            assert shards(output) == expected
            assert lists(output) == expected_lists
        shutil.rmtree(output, ignore_errors=True)
    print(f"{mode}: {interrupted} of {NUM_INTERRUPTIONS} interrupted")
    assert interrupted > NUM_INTERRUPTIONS / 2


def test_worker_processes_end_with_a_killed_launcher(corpus, launcher, tmp_path):
    """Ends the launcher while workers import modules, and while they embed."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = ["-m", "pipeline.run", *TRIAL, *MODES["two_processes"], f"--input={corpus}/*"]
    random = moments()
    for number in range(4):
        pid = launcher.start(*command, f"--output={tmp_path}/{number}", TMPDIR=str(temporary))
        try:

            def workers(pid=pid) -> list[psutil.Process]:
                found = []
                for process in session(pid):
                    with suppress(psutil.Error):
                        if "worker_process" in " ".join(process.cmdline()):
                            found.append(process)
                return found

            if number % 2:  # workers embed
                wait_for(lambda: any(temporary.glob("audioset-*/progress-*/*.counts")))
            else:
                wait_for(lambda workers=workers: bool(workers()))
            time.sleep(random.uniform(0, 1))
        except BaseException:
            kill_session(pid)
            raise
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            launcher.wait()
        assert seconds_until_gone(pid) < LIMIT_S
    assert list(temporary.iterdir())
    launcher.start("-m", "pipeline.verify", str(tmp_path), TMPDIR=str(temporary))
    launcher.wait()
    assert list(temporary.iterdir()) == []


def test_a_pools_processes_end_with_a_killed_command_and_by_ctrl_c(launcher, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time\nfrom pipeline.process.main import run_main\n"
        "from pipeline.verification.process_pool import Processes\n"
        "def work():\n"
        "    with Processes(3, ['pipeline.verification.process_pool'], patience_s=0) as processes:\n"
        "        list(processes.map(time.sleep, [0.2] * 12))\n"
        "        open(sys.argv[1], 'w')\n"
        "        list(processes.map(time.sleep, [60] * 100))\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(run_main('it', work))\n"
    )

    ready = tmp_path / "ready"
    ended = interrupt(launcher, [str(program), str(ready)], lambda _: ready.exists(), 0.2)
    assert (ended.status, ended.lines, ended.left) == (130, ["it: was interrupted (SIGINT)"], [])
    assert ended.took_s < LIMIT_S
    ready.unlink()
    ended = interrupt(launcher, [str(program), str(ready)], lambda _: ready.exists(), 0.2, signal.SIGKILL)
    assert (ended.status, ended.lines) == (-signal.SIGKILL, [])
    # The fork server waits for its processes, and then unloads TensorFlow, before it ends.
    assert len(ended.left) <= 1
    assert processes_left(ended.pid, 60.0) == []
