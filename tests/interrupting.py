"""Runs commands in a separate terminal, and sends them signals at random moments."""

import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from commands import ROOT, Launcher

CTRL_C = b"\x03"
# Other tests use the cores at the same time.
LIMIT_S = 2.0


def moments() -> random.Random:
    """Returns a generator of random moments; the printed AUDIOSET_TEST_SEED repeats them."""
    seed = int(os.environ.get("AUDIOSET_TEST_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"AUDIOSET_TEST_SEED={seed}")
    return random.Random(seed)


class WaitingForCores:
    """Measures how long a process waits for a core that other processes use."""

    def __init__(self, pid: int):
        self._pid = pid
        self._tasks: dict[str, float] = {}
        self._stopped = threading.Event()
        self._look()
        self._before_s = sum(self._tasks.values())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Returns the seconds that all threads have waited, until now or until the process ended."""
        self._stopped.set()
        self._thread.join()
        return sum(self._tasks.values()) - self._before_s

    def _run(self) -> None:
        while not self._stopped.wait(0.01):
            self._look()

    def _look(self) -> None:
        with suppress(OSError):
            for task in Path(f"/proc/{self._pid}/task").iterdir():
                with suppress(OSError):
                    self._tasks[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Attributes:
      status: its exit status, or the negative number of the signal that killed it.
      lines: the lines that it printed on the terminal after the signal.
      took_s: seconds from the signal to its end, without the time that it waited for a core.
      left: command lines of its processes that are alive one second later.
      pid: its process id, which is also the id of its session.
    """

    status: int
    lines: list[str]
    took_s: float
    left: list[str]
    pid: int


class Terminal:
    """A pseudo-terminal; the session of the first command that opens it is in the foreground."""

    def __init__(self):
        self._ours, theirs = pty.openpty()
        self.path = os.ttyname(theirs)
        self._theirs = theirs  # kept open, since otherwise reading fails between two commands
        self._shown = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def type(self, keys: bytes) -> int:
        """Sends keys to the terminal, and returns the number of bytes that it showed before."""
        length = len(self._shown)
        os.write(self._ours, keys)
        return length

    def lines(self, since: int = 0) -> list[str]:
        """Returns the lines that the terminal showed, without empty lines and the terminal's ^C."""
        text = self._shown[since:].decode(errors="replace").replace("^C", "").replace("\r", "\n")
        return [line for line in text.split("\n") if line.strip()]

    def close(self) -> None:
        os.close(self._theirs)
        with suppress(OSError):
            os.close(self._ours)

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self._ours, 1 << 16):
                self._shown += data


@contextmanager
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    try:
        yield opened
    finally:
        opened.close()


def interrupt(
    launcher: Launcher,
    command: Sequence[str],
    ready: Callable[[int], bool],
    delay_s: float,
    action: signal.Signals | bytes = CTRL_C,
    **environment: str,
) -> Ended:
    """Runs a command in a terminal, and ends it `delay_s` seconds after it is ready."""
    with terminal() as shown:
        pid = launcher.start(*command, output=[Path(shown.path)] * 2, **environment)
        try:
            wait_for(lambda: ready(pid) or not alive(pid))
            time.sleep(delay_s)
            begun, waiting = time.monotonic(), WaitingForCores(pid)
            if isinstance(action, bytes):
                since = shown.type(action)
            else:
                since = shown.type(b"")
                with suppress(ProcessLookupError):
                    os.kill(pid, action)
            timer = threading.Timer(20, kill_session, [pid])
            timer.start()
            status = launcher.wait()
            timer.cancel()
            took_s = time.monotonic() - begun - waiting.stop()
        except BaseException:
            kill_session(pid)
            launcher.wait()
            raise
        left = processes_left(pid)
        time.sleep(0.05)  # until the other thread has read the terminal
        return Ended(status, shown.lines(since), took_s, left, pid)


def start_in_terminal(shown: Terminal, *command: str, **environment: str) -> subprocess.Popen:
    """Starts a new Python process in a terminal."""

    def take() -> None:
        os.setsid()
        for number in range(3):
            os.dup2(os.open(shown.path, os.O_RDWR), number)

    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, **environment}, preexec_fn=take
    )


def catches(pid: int) -> bool:
    """Returns whether a process blocks SIGINT: it holds the signal back, or handles it in a thread."""
    with suppress(OSError, IndexError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text()
        blocked = int(text.split("SigBlk:")[1].split()[0], 16)
        return bool(blocked >> (signal.SIGINT - 1) & 1)
    return False


def alive(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def session(number: int) -> list[psutil.Process]:
    """Returns the running processes of a session."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def processes_left(number: int, after_s: float = 1.0) -> list[str]:
    """Returns the command lines of the processes of a session that still run after `after_s` seconds."""
    ends = time.monotonic() + after_s
    while (left := session(number)) and time.monotonic() < ends:
        time.sleep(0.02)
    words = []
    for process in left:
        with suppress(psutil.Error):
            words.append(" ".join(process.cmdline()))
    return words


def seconds_until_gone(number: int) -> float:
    """Returns the seconds until all processes of a session end, at most 60, without their wait for cores."""
    begun = time.monotonic()
    waiting = [WaitingForCores(process.pid) for process in session(number)]
    processes_left(number, 60.0)
    return time.monotonic() - begun - max((each.stop() for each in waiting), default=0.0)


def kill_session(number: int) -> None:
    for process in session(number):
        with suppress(psutil.Error):
            process.kill()


def wait_for(condition: Callable[[], bool], limit_s: float = 300.0) -> None:
    ends = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)
