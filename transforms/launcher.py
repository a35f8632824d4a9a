"""The process that started this one to work for it: a worker process ends with it.

Nothing tells a process that its parent was killed: Beam's workers try to reach it for minutes, and those of a
process pool wait forever. So a worker looks for its launcher, by number and start, several times per second.
Linux has a signal for this, but it comes when the *thread* that started the process ends.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from typing import NamedTuple

# Tells the workers that Beam starts who their launcher is.
_VARIABLE = "AUDIOSET_BEAM_LAUNCHER"
_LOOK_S = 0.25


class Launcher(NamedTuple):
    """A process that has workers.

    Attributes:
      pid: its number.
      started: as `process_started` returns it, which a later process with the same number has not.
    """

    pid: int
    started: float

    @classmethod
    def this_process(cls) -> "Launcher | None":
        """This process; None where the system does not say when it started."""
        started = process_started(os.getpid()) if sees_own_numbers() else None
        return None if started is None else cls(os.getpid(), started)

    def lives(self) -> bool:
        return process_started(self.pid) == self.started


_followed: Launcher | None = None
_is_stopped = False


def name_launcher() -> None:
    """Makes this process the launcher of the workers that Beam starts from it."""
    launcher = Launcher.this_process()
    if launcher is not None:
        os.environ[_VARIABLE] = f"{launcher.pid} {launcher.started!r}"


def follow_named_launcher() -> None:
    """Follows the launcher that `name_launcher` named, if there is one."""
    name = os.environ.get(_VARIABLE)
    if name:
        pid, started = name.split()
        follow_launcher(Launcher(int(pid), float(started)))


def follow_launcher(launcher: Launcher | None) -> None:
    """Makes this process a worker, which ends within a second after its launcher; None: it does not."""
    global _followed
    if launcher is None or Launcher.this_process() is None:
        return
    _followed = launcher
    threading.Thread(target=_follow, name="follow-launcher", daemon=True).start()


def before_write() -> None:
    """Lets nothing be written when a run is over: another run may work in the folder by then.

    Ends this process if it is a worker whose launcher has ended. After `stop_writes` it does not return.
    """
    _end_if_launcher_ended()
    while _is_stopped:
        time.sleep(60)


def stop_writes() -> None:
    """Makes this process write no further file until it ends."""
    global _is_stopped
    _is_stopped = True


def _end_if_launcher_ended() -> None:
    if _followed is not None and not _followed.lives():
        # At once and without a word: nobody waits for it.
        os._exit(1)


def process_started(pid: int) -> float | None:
    """When a process started, in a unit of the kernel's; None if it has ended."""
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
    import psutil  # which elsewhere takes as long as all that is imported before signals are caught

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (OSError, psutil.Error):
        return None


def sees_own_numbers() -> bool:
    """Whether /proc counts processes as this one does; that of another namespace may be mounted there."""
    with suppress(OSError, ValueError):
        return int(os.readlink("/proc/self")) == os.getpid()
    return sys.platform != "linux"


def _follow() -> None:
    while True:
        _end_if_launcher_ended()
        time.sleep(_LOOK_S)
