"""One run at a time in a folder."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.output.lock_owner import LockOwner
from pipeline.output.run_files import run_path
from pipeline.process.ending import end_process, on_end
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
# Exit status of a run that cannot go on.
_LOST = 1


@contextmanager
def lock_folder(output: str, hint: str = "") -> Iterator[str]:
    """Holds a folder for this process; gives the lock's `run`.

    A run that died does not hold it forever. A signal that ends the command gives it up. If the lock is lost,
    because another run took it or it was deleted, the process ends with status 1.

    Args:
      output: the folder.
      hint: what the line of such a signal says too.

    Raises:
      SettingError: another run has it, or what has it cannot be read.
    """
    path, mine = run_path(output, LOCK_FILE), LockOwner.this_process()
    try:
        version = _acquire(output, path, mine)
    except FILE_ERRORS as error:
        raise SettingError(f"{path}: cannot be written or read ({error}); check the path") from error
    keeper = _Keeper(path, mine, version)
    keeper.start()
    try:
        with on_end(keeper.give_up, hint):
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
        self._at_it = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Gives the lock up."""
        self._stopped.set()
        self._thread.join()
        self.give_up()

    def give_up(self) -> None:
        """Gives the lock up, from any thread, while the run still goes on."""
        with self._at_it, suppress(*FILE_ERRORS):
            self._stopped.set()
            exclusive.remove(self._path, self._version)

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            taken = None
            with self._at_it, suppress(*FILE_ERRORS):  # a server may be away for a while
                taken = None if self._stopped.is_set() else self._beat()
            if taken:
                end_process(
                    _LOST,
                    f"error: {self._path}: this run has lost the lock ({taken}); what stands "
                    "there is whole: when no other run is at work there, give the same command again",
                )

    def _beat(self) -> str | None:
        """Writes the next number; who has the lock if that is not possible."""
        self._mine = self._mine.next_beat()
        version = exclusive.replace(self._path, self._mine.encode(), self._version)
        if version is None:
            return "another has it" if exclusive.read(self._path) else "it was deleted"
        self._version = version
        return None
