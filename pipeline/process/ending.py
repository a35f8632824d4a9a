"""How a command ends before its work is done: with one line, within two seconds, and nothing left behind.

A signal is handled in a thread of its own, whatever the main thread does: a Python handler would wait until
a call of C code returns, and an exception thrown into Beam, TensorFlow or an import ends in their
tracebacks and waits for their threads. So the thread prints the line, kills the child processes, runs the
clean-ups of what the command holds, and ends the process with `os._exit`. That is no more than SIGKILL does,
which a run survives at any moment: every file appears whole or not at all.

Children never see Ctrl-C or a hang-up of the terminal, since all threads but the one block these signals, and
a child begins with the mask of the thread that starts it.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeline.process.own_command import OF_TERMINAL
from transforms.launcher import stop_writes
from transforms.printable import printable
from transforms.redact import shown_text

if TYPE_CHECKING:  # it takes as long to import as all else here, in which nothing is caught yet
    import psutil

# Exit status of a command that a signal ends, without the signal's number.
BY_SIGNAL = 128
_WORDS = {
    signal.SIGINT: "was interrupted",
    signal.SIGTERM: "was told to end",
    signal.SIGHUP: "lost its terminal",
}
# Time for clean-ups, which may wait for a server. What is left then, the next run clears.
_CLEAN_UP_S = 1.5
_FLUSH_S = 0.2
# A program that runs this one may pass on what the terminal has sent to both.
_SAME_SIGNAL_S = 0.2

_clean_ups: list[Callable[[], None]] = []
_hints: list[str] = []
_claimed = threading.Lock()  # by who ends the process
_name = "pipeline"
_catches = False
_status: int | None = None
# The error stream of the command, also while descriptor 2 is another file.
_stderr = 2


@contextmanager
def on_end(clean_up: Callable[[], None], hint: str = "") -> Iterator[None]:
    """Has something done if the process ends early in the meantime.

    Args:
      clean_up: runs in another thread than what it clears up after, and once at most.
      hint: what the line of a signal says too.
    """
    _clean_ups.append(clean_up)
    _hints.append(hint)
    try:
        yield
    finally:
        _clean_ups.remove(clean_up)
        _hints.remove(hint)


def end_process(status: int, line: str) -> None:
    """Ends this process and its children now, with one line on the error stream; does not return.

    Of several calls, also at the end of `leave`, the first one counts.
    """
    if not _claimed.acquire(blocking=False):
        _wait_for_the_end()
    timer = threading.Timer(_CLEAN_UP_S, os._exit, [status])
    timer.daemon = True
    timer.start()
    try:
        # Other threads still run, and would take a decoder that is killed here for a clip that crashes it.
        stop_writes()
        _last_line(printable(shown_text(f"{_name}: {line}")))
        _kill_children()
        for clean_up in _clean_ups.copy():  # a lock comes after all that it protects
            with suppress(Exception):
                clean_up()
    finally:
        os._exit(status)


def catch_signals(name: str) -> None:
    """Ends this process as a command, from now on, by SIGINT, SIGTERM and SIGHUP: 128 + the signal.

    Signals that are ignored, as under `nohup`, stay so. A second one ends the process at once. To be called
    in the main thread, which starts others afterwards; again to give another name.
    """
    global _name, _catches, _stderr
    _name = name
    if _catches:
        return
    _catches = True
    _open_standard_files()
    _stderr = os.dup(2)
    caught, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in _WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave_it_to_the_thread)
    threading.Thread(target=_listen, args=(caught,), name="signals", daemon=True).start()
    keep_terminal_from_children()
    # The first to be registered is the last to be called.
    atexit.register(_leave)


def keep_terminal_from_children() -> None:
    """Has children that this thread starts not see the terminal's signals, if this process catches them."""
    if _catches:
        # Not SIGTERM: whoever starts a child ends it with that.
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)


def leave(status: int) -> int:
    """Says that the work is done. Then no library takes apart what it has when the interpreter ends, which
    takes time and lets a signal through.

    Returns:
      The status, for `sys.exit`.
    """
    global _status
    _status = status
    return status


def _leave() -> None:
    """Runs after all that the interpreter calls at its end, among it what flushes logs."""
    if not _claimed.acquire(blocking=False):
        _wait_for_the_end()
    if _status is None:
        return  # an exception, which the interpreter has shown
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(_status)


def _leave_it_to_the_thread(number: int, frame: object) -> None:
    pass


def _listen(caught: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINAL)
    first_s: float | None = None
    while True:
        number = os.read(caught, 1)[0]
        if number not in _WORDS:
            continue
        status, now_s = BY_SIGNAL + number, time.monotonic()
        if first_s is None:
            first_s = now_s
            hint = next((f"; {hint}" for hint in _hints if hint), "")
            number = signal.Signals(number)
            line = f"{_WORDS[number]} ({number.name}){hint}"
            threading.Thread(target=end_process, args=(status, line), daemon=True).start()
        elif now_s - first_s > _SAME_SIGNAL_S:
            os._exit(status)


def _last_line(line: str) -> None:
    """Prints what is left of the output, and a line, and closes both streams: what dies now would speak."""
    # In a thread, since the reader of a pipe may not read.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)
    with suppress(OSError):
        kept = os.dup(_stderr)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2, _stderr):
            os.dup2(nowhere, number)
        # Below a live line, or behind the terminal's ^C.
        start = "\n" if os.isatty(kept) else ""
        os.write(kept, f"{start}{line}\n".encode())


def _flush() -> None:
    with suppress(Exception):
        sys.stdout.flush()


def _kill_children() -> None:
    import psutil

    for _ in range(3):  # one may have been starting another
        children = [child for child in psutil.Process().children(recursive=True) if not _clears_up(child)]
        if not children:
            return
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=0.2)


def _clears_up(process: "psutil.Process") -> bool:
    """Whether a process is dead, or the one that removes semaphores when all that had them have ended."""
    import psutil

    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return True


def _open_standard_files() -> None:
    """Opens those of the descriptors 0 to 2 that are closed, to nowhere.

    The next file that is opened, which may be a shard, would get the number, and what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def _wait_for_the_end() -> None:
    while True:
        time.sleep(60)
