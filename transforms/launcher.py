"""Ends worker processes when their launcher, the process that started them, ends.

A process is not notified when its parent is killed. Beam's workers then try to reach it for minutes, and
workers of a process pool wait forever. So a worker checks four times per second, by process id and start
time, whether its launcher is alive. Linux has a signal for this, but sends it when the *thread* that started
the process ends.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from typing import NamedTuple

# Names the launcher for the workers that Beam starts.
_VARIABLE = "AUDIOSET_BEAM_LAUNCHER"
_POLL_S = 0.25


class Launcher(NamedTuple):
    """A process with workers.

    Attributes:
      pid: its process id.
      started: its start time from `process_started`; a later process with the same id has another one.
    """

    pid: int
    started: float

    @classmethod
    def this_process(cls) -> "Launcher | None":
        """Return this process; None if its start time is unknown."""
        started = process_started(os.getpid()) if sees_own_pids() else None
        return None if started is None else cls(os.getpid(), started)

    def is_alive(self) -> bool:
        return process_started(self.pid) == self.started


_followed: Launcher | None = None
_has_ended = False


def name_launcher() -> None:
    """Make this process the launcher of the workers that Beam starts from it."""
    launcher = Launcher.this_process()
    if launcher is not None:
        os.environ[_VARIABLE] = f"{launcher.pid} {launcher.started!r}"


def follow_named_launcher() -> None:
    """Follow the launcher that `name_launcher` set, if any."""
    name = os.environ.get(_VARIABLE)
    if name:
        pid, started = name.split()
        follow_launcher(Launcher(int(pid), float(started)))


def follow_launcher(launcher: Launcher | None) -> None:
    """Make this process a worker that ends within a second after its launcher; None changes nothing."""
    global _followed
    if launcher is None or Launcher.this_process() is None:
        return
    _followed = launcher
    threading.Thread(target=_follow, name="follow-launcher", daemon=True).start()


def halt_if_ended() -> None:
    """Prevent what must not follow the end of a run; call it before writing a file or starting a process.

    Another run may use the folder then, and nothing would end the new process. This function ends the process
    if it is a worker whose launcher has ended. After `mark_ended`, it never returns.
    """
    _end_if_launcher_ended()
    while _has_ended:
        time.sleep(60)


def mark_ended() -> None:
    """Make each thread of this process halt before it writes a file or starts a decoder process."""
    global _has_ended
    _has_ended = True


def _end_if_launcher_ended() -> None:
    if _followed is not None and not _followed.is_alive():
        # At once and without a message: no process waits for this one.
        os._exit(1)


def process_started(pid: int) -> float | None:
    """Return the start time of a process, in a unit of the system; None if the process has ended."""
    if sys.platform != "linux":
        return _created(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    # Clock ticks since the machine was started: proc_pid_stat(5), field 22.
    return None if state in b"ZX" else float(fields[18])


def _created(pid: int) -> float | None:
    import psutil  # takes as long as all imports before signals are caught

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (OSError, psutil.Error):
        return None


def sees_own_pids() -> bool:
    """Return whether /proc has the process ids of this process's namespace; it may be another's."""
    with suppress(OSError, ValueError):
        return int(os.readlink("/proc/self")) == os.getpid()
    return sys.platform != "linux"


def _follow() -> None:
    while True:
        _end_if_launcher_ended()
        time.sleep(_POLL_S)
