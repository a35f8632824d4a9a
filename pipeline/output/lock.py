"""A lock that allows only one run at a time in a folder."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.output.lock_owner import LockOwner
from pipeline.output.run_files import run_path
from pipeline.process.ending import before_end, end_process, on_end
from transforms.errors import SettingError
from transforms.features.folder_shards import LOCK_FILE
from transforms.printable import say
from transforms.storage import exclusive
from transforms.storage.exclusive import Version
from transforms.storage.filesystems import FILE_ERRORS

# Interval of heartbeats: a run increments the number in its lock.
BEAT_S = 10.0
# If this machine cannot check whether the lock's owner lives, the owner counts as dead after this time
# without a heartbeat.
DEAD_S = 60.0
# On filesystems without exclusive writes, the last writer owns the lock. Each run waits this long, until the
# others have written, before it reads the lock again.
_SETTLE_S = 1.0
_POLL_S = 1.0
# Exit status of a run that lost its lock.
_LOST = 1


@contextmanager
def lock_folder(output: str, hint: str = "") -> Iterator[str]:
    """Locks a folder for this process, and yields the lock's `run`.

    A dead run does not keep the lock. A signal that ends the command releases the lock, with a message that
    includes `hint`. If another run takes the lock or it is deleted, the process ends with status 1.

    Raises:
      SettingError: another run has the lock, or the lock cannot be read.
    """
    path, mine = run_path(output, LOCK_FILE), LockOwner.this_process()
    keeper = _Keeper(path, mine)
    with on_end(keeper.release, hint):
        try:
            _acquire(output, keeper)
        except FILE_ERRORS as error:
            keeper.release()  # the lock may have been created before the error
            raise SettingError(f"{path}: cannot be written or read ({error}); check the path") from error
        keeper.start()
        try:
            yield mine.run
        finally:
            keeper.stop()


def _acquire(output: str, keeper: "_Keeper") -> None:
    path = keeper.path
    while not keeper.acquire():
        found = exclusive.read(path)
        if found is None:
            continue  # its owner has released it in the meantime
        owner = LockOwner.decode(found.data, path)
        is_alive = owner.is_alive()
        if is_alive or (is_alive is None and _wait_for_beat(path, found, owner)):
            raise SettingError(
                f"--output={output}: another run is using this folder ({owner}); wait until it ends, or "
                f"give another folder; if you know that it is dead, delete {path}"
            )
        if keeper.acquire(found):
            return


def _wait_for_beat(path: str, found: Version, owner: LockOwner) -> bool:
    """Watches a lock until its owner writes to it or counts as dead; this compares no clocks."""
    say(
        f"{path}: {owner}, may still be running, but this machine cannot check it; "
        f"waiting up to {DEAD_S:.0f} s for a heartbeat",
        file=sys.stderr,
        flush=True,
    )
    begun = time.monotonic()
    while time.monotonic() - begun < DEAD_S:
        time.sleep(_POLL_S)
        now = exclusive.read(path)
        if now is None or now.data != found.data:
            return now is not None
    return False


class _Keeper:
    """A thread that writes heartbeats to the lock, and ends the process if the lock is lost.

    It ends the process at once, since a runner would first finish a bundle, which may take hours.
    """

    def __init__(self, path: str, mine: LockOwner):
        self.path, self._mine = path, mine
        self._version: Version | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def acquire(self, found: Version | None = None) -> bool:
        """Creates the lock, or takes over the lock `found` of a dead run; returns whether it succeeded."""
        data = self._mine.encode()
        with before_end():
            if found is None:
                self._version = exclusive.create(self.path, data)
            else:
                self._version = exclusive.replace(self.path, data, found)
        if self._version and not exclusive.is_atomic(self.path):
            time.sleep(_SETTLE_S)
            now = exclusive.read(self.path)
            self._version = now if now and now.data == data else None
        return self._version is not None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops the heartbeats and releases the lock."""
        self._stopped.set()
        self._thread.join()
        self.release()

    def release(self) -> None:
        """Releases the lock; by then, no heartbeat is being written, and none begins."""
        with suppress(*FILE_ERRORS):
            if self._version:
                exclusive.remove(self.path, self._version)

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            cause = None
            with before_end(), suppress(*FILE_ERRORS):  # a server may be unavailable for a while
                cause = self._beat()
            if cause:
                end_process(
                    _LOST,
                    f"error: {self.path}: this run has lost the lock ({cause}); all files in the folder are "
                    "complete; when no other run is using the folder, run the same command again",
                )

    def _beat(self) -> str | None:
        """Writes a heartbeat; returns why the lock is lost, or None."""
        self._mine = self._mine.next_beat()
        version = self._version and exclusive.replace(self.path, self._mine.encode(), self._version)
        if version is None:
            return "another run took it" if exclusive.read(self.path) else "it was deleted"
        self._version = version
        return None
