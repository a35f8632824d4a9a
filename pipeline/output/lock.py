"""One run at a time in a folder."""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from pipeline.output.lock_owner import LockOwner
from pipeline.output.run_files import run_path
from transforms.errors import SettingError
from transforms.features.own_shards import LOCK_FILE
from transforms.printable import say
from transforms.storage import exclusive
from transforms.storage.exclusive import Version
from transforms.storage.filesystems import FILE_ERRORS

# Each run writes another number to its lock so often.
BEAT_S = 10.0
# A run of which this machine cannot tell whether it lives is dead if its lock stays as it is for so long.
DEAD_S = 60.0
# Where a lock cannot be written exclusively, the last one to write has it. Each looks after a time in which
# the others have written.
_SETTLE_S = 1.0
_POLL_S = 1.0
# Exit statuses: as of a command that the signal ends, and of a run that cannot go on.
_TERMINATED, _LOST = 128 + signal.SIGTERM, 1
_STOP = 0


@contextmanager
def lock_folder(output: str) -> Iterator[str]:
    """Holds a folder for this process; gives the lock's `run`.

    A run that died does not hold it forever. SIGTERM, in the main thread, gives the lock up and ends the
    process with status 143. If the lock is lost, because another run took it or it was deleted, the process
    ends with status 1.

    Raises:
      SettingError: another run has it, or what has it cannot be read.
    """
    path, mine = run_path(output, LOCK_FILE), LockOwner.this_process()
    try:
        version = _acquire(output, path, mine)
    except FILE_ERRORS as error:
        raise SettingError(f"{path}: cannot be written or read ({error}); check the path") from error
    keeper = _Keeper(path, mine, version)
    with _termination_to(keeper):
        keeper.start()
        try:
            yield mine.run
        finally:
            keeper.stop()


def _acquire(output: str, path: str, mine: LockOwner) -> Version:
    while True:
        version = exclusive.create(path, mine.encode())
        if version is None:
            there = exclusive.read(path)
            if there is None:
                continue  # it was given up meanwhile
            owner = LockOwner.decode(there.data, path)
            lives = owner.lives()
            if lives or (lives is None and _changes(path, there, owner)):
                raise _refusal(output, path, owner)
            version = exclusive.replace(path, mine.encode(), there)
        if version is None:
            continue  # another one was faster
        if exclusive.is_atomic(path):
            return version
        time.sleep(_SETTLE_S)
        now = exclusive.read(path)
        if now and now.data == version.data:
            return now


def _changes(path: str, there: Version, owner: LockOwner) -> bool:
    """Looks at a lock until its owner writes to it or is dead; clocks are not compared."""
    say(
        f"{path}: {owner} may be at work there, which this machine cannot tell; "
        f"waiting for a sign of it for up to {DEAD_S:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    begun = time.monotonic()
    while time.monotonic() - begun < DEAD_S:
        time.sleep(_POLL_S)
        now = exclusive.read(path)
        if now is None or now.data != there.data:
            return now is not None
    return False


def _refusal(output: str, path: str, owner: LockOwner) -> SettingError:
    return SettingError(
        f"--output={output}: another run is at work there ({owner}); wait for its end, or give another "
        f"folder. If you know that it is dead, delete {path}"
    )


class _Keeper:
    """A thread that says that the run lives, and ends the process when it may not go on.

    The process is ended at once, since a runner would first finish a bundle, which takes hours.
    """

    def __init__(self, path: str, mine: LockOwner, version: Version):
        self._path, self._mine, self._version = path, mine, version
        # Of a kind that a signal handler may put to.
        self._events = queue.SimpleQueue[int]()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Gives the lock up."""
        self.tell(_STOP)
        self._thread.join()
        self._give_up()

    def tell(self, event: int) -> None:
        """Passes on a signal, or _STOP."""
        self._events.put(event)

    def _run(self) -> None:
        while True:
            try:
                event = self._events.get(timeout=BEAT_S)
            except queue.Empty:
                self._beat()
                continue
            if event == _STOP:
                return
            self._end(_TERMINATED, "was told to end (SIGTERM); the same command goes on where it stopped")

    def _beat(self) -> None:
        with suppress(*FILE_ERRORS):  # a server may be away for a while
            self._mine = self._mine.next_beat()
            version = exclusive.replace(self._path, self._mine.encode(), self._version)
            if version is None:
                taken = "another has it" if exclusive.read(self._path) else "it was deleted"
                self._end(
                    _LOST,
                    f"error: {self._path}: this run has lost the lock ({taken}); what stands there is whole: "
                    "when no other run is at work there, give the same command again",
                )
            else:
                self._version = version

    def _give_up(self) -> None:
        with suppress(*FILE_ERRORS):
            exclusive.remove(self._path, self._version)

    def _end(self, status: int, line: str) -> None:
        try:
            say("", f"pipeline.run: {line}", file=sys.stderr, flush=True)
            # What dies now would speak.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self._give_up()
        finally:
            os._exit(status)


@contextmanager
def _termination_to(keeper: _Keeper) -> Iterator[None]:
    """Passes SIGTERM on to a keeper, where it would end the process without a word."""
    is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not is_free or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: keeper.tell(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
