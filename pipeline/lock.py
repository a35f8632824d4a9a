"""One run at a time in a folder."""

import dataclasses
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import psutil

from pipeline.graph import run_path
from transforms.errors import SettingError
from transforms.files import FILE_ERRORS, delete_files, open_file, put_file

LOCK_FILE = "lock.json"

_BEAT_S = 30.0
# A run elsewhere that has said nothing for so long is dead.
_DEAD_S = 180.0
# Object stores have no "write if absent" that Beam knows. Of runs that begin together the last one to write
# has the lock, and each looks after a time in which the others have written.
_SETTLE_S = 0.5


@dataclasses.dataclass(frozen=True)
class Holder:
    """A run that has the lock.

    Attributes:
      run: a number of its own.
      host, pid, process_started: its launcher; the start, in seconds since 1970, tells a later process with
        the same number.
      alive: when it last said so, in seconds since 1970.
    """

    run: str
    host: str
    pid: int
    process_started: float
    alive: float

    @classmethod
    def this_process(cls) -> "Holder":
        pid = os.getpid()
        started = psutil.Process(pid).create_time()
        return cls(uuid.uuid4().hex, socket.gethostname(), pid, started, time.time())

    def is_alive(self) -> bool:
        """Whether the run goes on: of this machine's processes known, of others by what they last said."""
        if self.host != socket.gethostname():
            return time.time() - self.alive < _DEAD_S
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.process_started) < 1
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        last = datetime.fromtimestamp(self.alive, timezone.utc).isoformat(timespec="seconds")
        return f"process {self.pid} on {self.host}, last seen {last}"


@contextmanager
def lock_folder(output: str) -> Iterator[None]:
    """Holds a folder for this process; a run that died does not hold it for ever.

    Raises:
      SettingError: another run has it.
    """
    path = run_path(output, LOCK_FILE)
    holder = _read(path)
    if holder and holder.is_alive():
        raise _refusal(output, holder)
    mine = Holder.this_process()
    _put(path, mine)
    time.sleep(_SETTLE_S)
    holder = _read(path)
    if holder and holder.run != mine.run:
        raise _refusal(output, holder)
    stopped = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, mine, stopped), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stopped.set()
        beat.join()
        with suppress(*FILE_ERRORS):
            if (holder := _read(path)) and holder.run == mine.run:
                delete_files([path])


def _refusal(output: str, holder: Holder) -> SettingError:
    return SettingError(
        f"--output={output}: another run is at work there ({holder}); wait for its end, "
        "or give another folder"
    )


def _beat(path: str, mine: Holder, stopped: threading.Event) -> None:
    while not stopped.wait(_BEAT_S):
        with suppress(*FILE_ERRORS):
            _put(path, dataclasses.replace(mine, alive=time.time()))


def _put(path: str, holder: Holder) -> None:
    put_file(path, json.dumps(dataclasses.asdict(holder)).encode())


def _read(path: str) -> Holder | None:
    try:
        with open_file(path) as file:
            return Holder(**json.loads(file.read()))
    except (*FILE_ERRORS, ValueError, TypeError):
        return None
