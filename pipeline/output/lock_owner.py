"""The owner of a lock, and the check whether it is alive."""

import dataclasses
import json
import os
import socket
import uuid
from contextlib import suppress
from datetime import datetime, timezone

from transforms.errors import SettingError
from transforms.launcher import process_started, sees_own_pids

# They identify a boot of a kernel and a PID namespace; a process number is unique only within both.
_BOOT_ID, _PID_NAMESPACE = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"


@dataclasses.dataclass(frozen=True)
class LockOwner:
    """A run that has, or wants, a lock.

    Attributes:
      run: unique id of the run.
      host, boot_id, pid_namespace, pid, process_started: identify its launcher process. The start time, in a
        unit of the kernel and not of the clock, distinguishes it from a later process with the same number.
      since: start of the run in ISO 8601, for messages.
      beat: number of heartbeats so far.
    """

    run: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    process_started: float
    since: str
    beat: int = 0

    @classmethod
    def this_process(cls) -> "LockOwner":
        """Returns a new owner for this process."""
        pid = os.getpid()
        return cls(
            uuid.uuid4().hex,
            socket.gethostname(),
            _boot_id(),
            _pid_namespace(),
            pid,
            process_started(pid) or 0.0,
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def next_beat(self) -> "LockOwner":
        return dataclasses.replace(self, beat=self.beat + 1)

    def is_alive(self) -> bool | None:
        """Returns whether the run's process is alive; None if this process cannot check it.

        The check needs the same kernel and PID namespace. Two containers may have the same host name and not
        see each other's processes.
        """
        if not self.boot_id or (self.boot_id, self.pid_namespace) != (_boot_id(), _pid_namespace()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # the process exists, and belongs to another user
        if not sees_own_pids():
            return None
        return process_started(self.pid) == self.process_started

    def encode(self) -> bytes:
        """Returns the content of a lock file."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes, path: str) -> "LockOwner":
        """Inverts `encode`; later versions may add fields.

        Raises:
          SettingError: the data is not a lock.
        """
        try:
            row = json.loads(data)
            values = {field.name: row[field.name] for field in dataclasses.fields(cls)}
            for field in dataclasses.fields(cls):
                if not isinstance(values[field.name], _TYPES[field.type]):
                    raise TypeError(f"{field.name} is {values[field.name]!r}")
            return cls(**values)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SettingError(
                f"{path}: is not a lock of this version ({error!r}); if no run is using the folder, delete "
                "the lock and run the same command again"
            ) from error

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


_TYPES: dict[object, type | tuple[type, ...]] = {str: str, int: int, float: (int, float)}


def _boot_id() -> str:
    with suppress(OSError), open(_BOOT_ID) as file:
        return file.read().strip()
    return ""


def _pid_namespace() -> str:
    with suppress(OSError):
        return os.readlink(_PID_NAMESPACE)
    return ""
