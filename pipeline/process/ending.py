"""Ends a command early: with one line, within two seconds, and without leftovers.

A separate thread handles signals, independent of the main thread. A Python signal handler would wait until C
code returns, and an exception in Beam, TensorFlow or an import would print their tracebacks and wait for
their threads. So the thread prints the line, kills the child processes, runs the clean-up functions of the
command, and ends the process with `os._exit`. This is as safe as SIGKILL, which a run survives at any time:
all files are written atomically.

Children do not receive Ctrl-C or a hang-up of the terminal: all threads except this one block these signals,
and a child inherits the signal mask of the thread that starts it.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from pipeline.process.own_command import OF_TERMINAL
from transforms.homes import remove_own_folder
from transforms.launcher import mark_ended
from transforms.printable import printable
from transforms.redact import shown_text

# Exit status of a command that a signal ends is this plus the signal's number.
BY_SIGNAL = 128
_MESSAGES = {
    signal.SIGINT: "was interrupted",
    signal.SIGTERM: "was terminated",
    signal.SIGHUP: "lost its terminal",
}
# Time limit for clean-up functions, which may wait for a server. The next run cleans up the rest.
_CLEAN_UP_S = 1.5
_FLUSH_S = 0.2
# Time limit for contexts of `before_end`, which may wait for a server.
_CHANGE_S = 1.0
# A parent program may forward a signal that the terminal has already sent to both; within this time it counts
# as the same signal.
_SAME_SIGNAL_S = 0.2

_clean_ups: list[Callable[[], None]] = []
_hints: list[str] = []
_claimed = threading.Lock()  # held by the thread that ends the process
_changing = threading.RLock()  # held by threads in `before_end`, and finally by the one that ends the process
_name = "pipeline"
_catches = False
_status: int | None = None
# Descriptor of the command's error stream, even while descriptor 2 is redirected.
_stderr = 2


@contextmanager
def on_end(clean_up: Callable[[], None], hint: str = "") -> Iterator[None]:
    """Registers a clean-up function for the case that the process ends early in this context.

    Args:
      clean_up: the function; it runs at most once, in another thread.
      hint: text to add to the line for a signal.
    """
    with before_end():
        _clean_ups.append(clean_up)
        _hints.append(hint)
    try:
        yield
    finally:
        with before_end():
            is_ending = _claimed.locked()
            if not is_ending:
                _clean_ups.remove(clean_up)
                _hints.remove(hint)
        if is_ending:  # the thread that ends the process runs the clean-up
            _wait_for_the_end()


@contextmanager
def before_end() -> Iterator[None]:
    """Delays the end of the process until this context ends, for at most a second.

    So a file that is created in this context is deleted if its clean-up is registered by then. If the
    clean-up functions have already started, this waits for the end of the process instead.
    """
    with _changing:
        yield


def end_process(status: int, line: str) -> None:
    """Ends this process and its children now, with one line on the error stream; does not return.

    If several threads end the process, including a normal end after `leave`, only the first one does.
    """
    if not _claimed.acquire(blocking=False):
        _wait_for_the_end()
    timer = threading.Timer(_CLEAN_UP_S, os._exit, [status])
    timer.daemon = True
    timer.start()
    try:
        _changing.acquire(timeout=_CHANGE_S)
        # Other threads still run, and would treat a decoder that is killed here as crashed by its clip.
        mark_ended()
        last = _close_output()
        children = _suspend_children()
        # A new line, since the cursor may be after a live line or the terminal's ^C.
        start = "\n" if os.isatty(last) else ""
        with suppress(OSError):
            os.write(last, f"{start}{printable(shown_text(f'{_name}: {line}'))}\n".encode())
        _kill(children)
        # In threads, since one may wait for a server.
        threads = [threading.Thread(target=clean_up, daemon=True) for clean_up in _clean_ups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _kill(_suspend_children())  # which other threads started meanwhile
    finally:
        os._exit(status)


def catch_signals(name: str) -> None:
    """Lets SIGINT, SIGTERM and SIGHUP end this process with one line and status 128 + the signal's number.

    Ignored signals, such as SIGHUP under `nohup`, stay ignored. A second signal ends the process at once.
    Call this in the main thread, before it starts others. A second call only changes the name.
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
    for number in _MESSAGES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ignore_here)
    threading.Thread(target=_listen, args=(caught,), name="signals", daemon=True).start()
    keep_terminal_from_children()
    # Functions run in reverse order of registration, so this one runs last.
    atexit.register(_leave)


def keep_terminal_from_children() -> None:
    """Blocks the terminal's signals in children that this thread starts, if this process catches signals."""
    if _catches:
        # SIGTERM is not blocked, since parents use it to end their children.
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)


def leave(status: int) -> int:
    """Sets the exit status for `_leave`, which ends the process when the interpreter exits.

    It skips the teardown of libraries, which takes time, and in which a signal would not be handled.

    Returns:
      The status, for `sys.exit`.
    """
    global _status
    _status = status
    return status


def _leave() -> None:
    """Ends the process after all other exit functions of the interpreter, such as flushing logs."""
    if not _claimed.acquire(blocking=False):
        _wait_for_the_end()
    if _status is None:
        return  # the interpreter has printed an exception
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    remove_own_folder()  # its own exit function was registered earlier, so it would run later
    os._exit(_status)


def _ignore_here(number: int, frame: object) -> None:
    """Does nothing: the thread in `_listen` handles the signal."""


def _listen(caught: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINAL)
    first_s: float | None = None
    while True:
        number = os.read(caught, 1)[0]
        if number not in _MESSAGES:
            continue
        status, now_s = BY_SIGNAL + number, time.monotonic()
        if first_s is None:
            first_s = now_s
            hint = next((f"; {hint}" for hint in _hints if hint), "")
            number = signal.Signals(number)
            line = f"{_MESSAGES[number]} ({number.name}){hint}"
            threading.Thread(target=end_process, args=(status, line), daemon=True).start()
        elif now_s - first_s > _SAME_SIGNAL_S:
            os._exit(status)


def _close_output() -> int:
    """Closes the output, also for children that start later; returns a descriptor for the last line."""
    # In a thread, since the reader of a pipe may block it.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)
    last = _stderr
    with suppress(OSError):
        last, devnull = os.dup(_stderr), os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2, _stderr):
            os.dup2(devnull, number)
    return last


def _flush() -> None:
    with suppress(Exception):
        sys.stdout.flush()


def _suspend_children() -> list[psutil.Process]:
    """Suspends all descendants before they are killed, so that none prints that another one has ended."""
    suspended: list[psutil.Process] = []
    while new := [
        child
        for child in psutil.Process().children(recursive=True)
        if child not in suspended and not _is_spared(child)
    ]:  # again, since one may have started another process meanwhile
        for child in new:
            with suppress(psutil.Error):
                child.suspend()
        suspended += new
    return suspended


def _kill(children: list[psutil.Process]) -> None:
    for child in children:
        with suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, timeout=0.2)


def _is_spared(process: psutil.Process) -> bool:
    """Returns whether a process is dead or Python's resource tracker, which removes semaphores at the end."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return True


def _open_standard_files() -> None:
    """Opens closed descriptors among 0 to 2 as the null device.

    Otherwise the next opened file, such as a shard, would get the number and the output of libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w")  # noqa: SIM115
            setattr(sys, name, stream)
            # Another reference, as for other streams: one that `make_streams_patient` replaces stays open.
            setattr(sys, f"__{name}__", stream)


def _wait_for_the_end() -> None:
    while True:
        time.sleep(60)
