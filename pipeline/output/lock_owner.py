"""The run that a lock names, and whether this machine can tell that it lives."""

import dataclasses
import json
import os
import socket
import uuid
from contextlib import suppress
from datetime import datetime, timezone

from transforms.errors import SettingError
from transforms.launcher import process_started, sees_own_pids

# A kernel since it was started, and a process's view of the others: what the number of a process is in.
_BOOT_ID, _PID_NAMESPACE = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"


@dataclasses.dataclass(frozen=True)
class LockOwner:
    """A run that has, or wants, a lock.

    Attributes:
      run: a number of its own.
      host, boot_id, pid_namespace, pid, process_started: its launcher. The start, in a unit of the kernel's
        and not by the clock, tells a later process with the same number.
      since: when it began, in ISO 8601, for a person.
      beat: counts up while it lives.
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
        """A run of this process."""
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

    def lives(self) -> bool | None:
        """Whether the run goes on; None if this process cannot tell.

        It can where both have one kernel and see the same processes. Two containers may have one name of the
        host and not see each other.
        """
        is_here = self.boot_id and (self.boot_id, self.pid_namespace) == (_boot_id(), _pid_namespace())
        if not is_here:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # of another user
        if not sees_own_pids():
            return None
        return process_started(self.pid) == self.process_started

    def encode(self) -> bytes:
        """The bytes of a lock."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes, path: str) -> "LockOwner":
        """The inverse of `encode`; a later version may have more fields.

        Raises:
          SettingError: it is no lock.
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
                f"{path}: is no lock of this version ({error!r}); if no run is at work there, delete it and "
                "give the same command again"
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
