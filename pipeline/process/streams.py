"""Output streams that never fail: if output cannot be printed, only the exit status changes."""

import errno
import io
import select
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO, cast

from pipeline.process.ending import BY_SIGNAL
from transforms.printable import say

_CANNOT_PRINT = 1


class _Patient(io.RawIOBase):
    """A file that accepts all data, and drops it after the first error.

    Attributes:
      error: the first error; None if there was none.
    """

    def __init__(self, file: io.FileIO):
        self.error: OSError | None = None
        self._file = file

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, data: Any) -> int:
        """Writes all data, since callers without a buffer (`python -u`) do not complete a partial write."""
        rest = memoryview(data)
        while rest and self.error is None:
            try:
                written = self._file.write(rest)
            except OSError as error:
                self.error = error
            else:
                if written is None:  # another program has set the terminal to non-blocking mode
                    select.select([], [self._file], [])
                rest = rest[written or 0 :]
        return len(data)


_patient: dict[str, _Patient] = {}


def make_streams_patient() -> None:
    """Replaces standard output and standard error by streams that never fail, if they are files."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Tests and programs that call a command as a function may have other streams.
        buffer = getattr(stream, "buffer", None)
        file = getattr(buffer, "raw", buffer)  # without buffering, `buffer` is the file
        if not isinstance(file, io.FileIO):
            continue
        with suppress(OSError):
            stream.flush()
        raw = _patient[name] = _Patient(file)
        patient = io.TextIOWrapper(
            cast(BinaryIO, raw if buffer is file else io.BufferedWriter(raw)),
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, patient)


def close_output(name: str, status: int) -> int:
    """Flushes a command's output, and returns its exit status.

    If the output could not be printed, a line on the error stream explains it. A status of 0 then becomes 141
    if the reader of the pipe has ended, such as `head`, and 1 otherwise.
    """
    sys.stdout.flush()
    error = _patient["stdout"].error if "stdout" in _patient else None
    if error is None:
        return status
    say(
        f"{name}: error: the output cannot be printed ({error.strerror}); the rest of the work is done",
        file=sys.stderr,
    )
    sys.stderr.flush()
    if status:
        return status
    return BY_SIGNAL + signal.SIGPIPE if error.errno == errno.EPIPE else _CANNOT_PRINT
