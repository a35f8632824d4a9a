"""Signals end commands before their work is done: real processes, in a terminal, at random moments."""

import os
import signal
import time
from pathlib import Path

import pytest
from commands import shared_launcher
from interrupting import (
    CTRL_C,
    LIMIT_S,
    Terminal,
    WaitingForCores,
    catches,
    interrupt,
    kill_session,
    moments,
    processes_left,
    start_in_terminal,
    terminal,
    wait_for,
)
from sounds import write_noise

WAITS = """
import sys, time
from pathlib import Path
from pipeline.process.ending import on_end
from pipeline.process.main import run_main
from transforms.storage.files import write_atomic

def wait():
    with on_end(lambda: {clean_up}, "more"):
        Path(sys.argv[1], "ready").touch()
        {busy}

sys.exit(run_main("it", wait))
"""
TRIAL = ["--weights=random:0", "--pca_params=none", "--runner=FnApiRunner"]


@pytest.fixture(scope="module")
def launcher():
    return shared_launcher()


@pytest.fixture
def wait(launcher, tmp_path):
    """Starts a program that waits, and ends it with a signal."""

    def run(action, busy="time.sleep(60)", clean_up="Path(sys.argv[1], 'cleared').touch()", delay_s=0.02):
        program = tmp_path / "program.py"
        program.write_text(WAITS.format(busy=busy, clean_up=clean_up))
        (tmp_path / "ready").unlink(missing_ok=True)
        temporary = tmp_path / "tmp"
        temporary.mkdir(exist_ok=True)
        ended = interrupt(
            launcher,
            [str(program), str(tmp_path)],
            lambda _: (tmp_path / "ready").exists(),
            delay_s,
            action,
            TMPDIR=str(temporary),
        )
        assert list(temporary.iterdir()) == []
        return ended

    return run


@pytest.mark.parametrize(
    "action, status, line",
    [
        (CTRL_C, 130, "it: was interrupted (SIGINT); more"),
        (signal.SIGTERM, 143, "it: was terminated (SIGTERM); more"),
        (signal.SIGHUP, 129, "it: lost its terminal (SIGHUP); more"),
    ],
)
def test_a_signal_is_one_line_and_its_status(wait, tmp_path, action, status, line):
    ended = wait(action)
    assert (ended.status, ended.lines, ended.left) == (status, [line], [])
    assert ended.took_s < LIMIT_S
    assert (tmp_path / "cleared").exists()


@pytest.mark.parametrize(
    "busy",
    [
        "__import__('ctypes').CDLL(None).sleep(60)",
        "__import__('threading').Event().wait()",
        "[None for _ in iter(int, 1)]",
        "__import__('subprocess').run(['sleep', '60'])",
    ],
)
def test_a_signal_ends_any_work_of_the_main_thread(wait, busy):
    ended = wait(CTRL_C, busy)
    assert (ended.status, ended.lines, ended.left) == (130, ["it: was interrupted (SIGINT); more"], [])
    assert ended.took_s < LIMIT_S


def test_a_command_prints_nothing_about_its_killed_children(wait, tmp_path):
    """When the children end, the main thread leaves the context of the clean-up, which must still run."""
    busy = "print(__import__('subprocess').run(['sleep', '60'])) or 1 / 0"
    for _ in range(3):
        ended = wait(signal.SIGTERM, busy)
        assert ended.lines == ["it: was terminated (SIGTERM); more"]
        (tmp_path / "cleared").unlink()


def test_children_that_start_meanwhile_print_nothing(wait):
    """The main thread continues to start children, each of which would print when its parent ends."""
    busy = """
        import subprocess
        while True:
            subprocess.Popen(["sh", "-c", "read line; echo orphan >&2"], stdin=subprocess.PIPE)
            time.sleep(0.01)
"""
    for _ in range(5):
        ended = wait(CTRL_C, busy, delay_s=0.1)
        assert (ended.status, ended.lines) == (130, ["it: was interrupted (SIGINT); more"])


def test_a_clean_up_that_hangs_or_fails_does_not_delay_the_end(wait):
    ended = wait(CTRL_C, clean_up="1 / 0")
    assert (ended.status, ended.lines) == (130, ["it: was interrupted (SIGINT); more"])
    ended = wait(CTRL_C, clean_up="time.sleep(60)")
    assert (ended.status, ended.lines) == (130, ["it: was interrupted (SIGINT); more"])
    assert 1 < ended.took_s < LIMIT_S


def test_a_second_ctrl_c_ends_at_once(launcher, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WAITS.format(busy="time.sleep(60)", clean_up="time.sleep(60)"))
    with terminal() as shown:
        pid = launcher.start(str(program), str(tmp_path), output=[Path(shown.path)] * 2)
        wait_for((tmp_path / "ready").exists)
        begun = time.monotonic()
        shown.type(CTRL_C)
        time.sleep(0.3)
        shown.type(CTRL_C)
        assert launcher.wait() == 130
        assert 0.3 <= time.monotonic() - begun < 1.0
        assert processes_left(pid) == []


def test_after_the_signal_nothing_is_written(wait, tmp_path):
    """The main thread continues during the clean-up."""
    busy = """
        number = 0
        while True:
            number += 1
            write_atomic(f"{sys.argv[1]}/files/{number}", b"x")
"""
    count = "str(len(list(Path(sys.argv[1], 'files').glob('[0-9]*'))))"
    clean_up = (
        f"[Path(sys.argv[1], 'one').write_text({count}), time.sleep(0.3), "
        f"Path(sys.argv[1], 'two').write_text({count})]"
    )
    wait(CTRL_C, busy.strip(), clean_up, 0.5)
    assert int((tmp_path / "one").read_text()) == int((tmp_path / "two").read_text()) > 0


def test_an_ignored_signal_stays_ignored(launcher, tmp_path):
    """`nohup` starts a command with such a signal."""
    program = tmp_path / "program.py"
    head = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program.write_text(head + WAITS.format(busy="time.sleep(0.5)", clean_up="0"))
    with terminal() as shown:
        pid = launcher.start(str(program), str(tmp_path), output=[Path(shown.path)] * 2)
        wait_for((tmp_path / "ready").exists)
        os.kill(pid, signal.SIGHUP)
        assert launcher.wait() == 0


def test_children_do_not_see_ctrl_c(launcher, tmp_path):
    """Beam's workers, the processes of a pool and decoders start in the same way as this child."""
    busy = """
        import subprocess
        code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        said = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True).stdout
        Path(sys.argv[1], "mask").write_text(said)
"""
    program = tmp_path / "program.py"
    program.write_text(WAITS.format(busy=busy.strip(), clean_up="0"))
    launcher.start(str(program), str(tmp_path))
    assert launcher.wait() == 0
    mask = (tmp_path / "mask").read_text()
    assert "SIGINT" in mask and "SIGHUP" in mask and "SIGTERM" not in mask


@pytest.mark.parametrize("command", [["-m", "pipeline.smoke_test"], ["examples/fine_tune.py"]])
def test_ctrl_c_during_the_imports(command, tmp_path):
    """Starts a new Python process, whose imports take seconds."""
    random = moments()
    name = "pipeline.smoke_test" if command[0] == "-m" else "fine_tune"
    for _ in range(3):
        with terminal() as shown:
            process = start_in_terminal(shown, *command, TMPDIR=str(tmp_path))
            wait_for(lambda process=process: catches(process.pid))
            time.sleep(random.uniform(0, 1.0))
            begun, waiting = time.monotonic(), WaitingForCores(process.pid)
            since = shown.type(CTRL_C)
            try:
                status = process.wait(20)
                took_s = time.monotonic() - begun - waiting.stop()
            finally:
                kill_session(process.pid)
            time.sleep(0.05)
            assert (status, shown.lines(since)) == (130, [f"{name}: was interrupted (SIGINT)"])
            assert took_s < LIMIT_S
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_a_run(launcher, tmp_path):
    """Interrupts one run; the integration tests interrupt runs at many moments and in each mode."""
    for number in range(20):
        write_noise(tmp_path / "audio" / f"{number}.wav", 10.0, seed=number)
    output, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    lock = output / "_run" / "lock.json"
    command = ["-m", "pipeline.run", *TRIAL, f"--input={tmp_path}/audio/*", f"--output={output}"]
    ended = interrupt(
        launcher, command, lambda _: lock.exists(), moments().uniform(0, 1), TMPDIR=str(temporary)
    )
    assert ended.status == 130 and ended.took_s < LIMIT_S and ended.left == []
    assert ended.lines[-1] == (
        "pipeline.run: was interrupted (SIGINT); run the same command again to continue"
    )
    assert not lock.exists()
    assert list(temporary.iterdir()) == []


def test_a_program_that_uses_the_package_has_its_own_ctrl_c(launcher, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, pipeline.embed, transforms.storage.files\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
    )
    launcher.start(str(program))
    assert launcher.wait() == 0


def test_terminals_show_what_is_printed():
    """Without this, no test in this module could fail."""
    with terminal() as shown:
        assert isinstance(shown, Terminal)
        process = start_in_terminal(shown, "-c", "import time; print('ready', flush=True); time.sleep(60)")
        wait_for(lambda: shown.lines() == ["ready"])
        since = shown.type(CTRL_C)
        assert process.wait(20) == -signal.SIGINT
        time.sleep(0.05)
        assert shown.lines(since)[-1] == "KeyboardInterrupt"
