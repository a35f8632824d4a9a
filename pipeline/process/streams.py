"""Output streams that never fail: what cannot be printed changes nothing of the work, but the exit status."""

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
    """A file that takes everything, and remembers the first error.

    Attributes:
      error: why the rest was dropped.
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
        """Writes all of it, since nobody asks for the rest where streams have no buffer (`python -u`)."""
        rest = memoryview(data)
        while rest and self.error is None:
            try:
                written = self._file.write(rest)
            except OSError as error:
                self.error = error
            else:
                if written is None:  # another program has the terminal not wait
                    select.select([], [self._file], [])
                rest = rest[written or 0 :]
        return len(data)


_patient: dict[str, _Patient] = {}


def make_streams_patient() -> None:
    """Puts streams that never fail in the place of the output and the error stream, if those are files."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Tests, and programs that run a command within, have streams of their own.
        buffer = getattr(stream, "buffer", None)
        file = getattr(buffer, "raw", buffer)  # without a buffer it is the file
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
    """Prints what is left of a command's output.

    Args:
      name: the command's.
      status: its exit status.

    Returns:
      The exit status. Of a command that did all but print it is 141 if the reader of a pipe has ended, as
      `head` does, and 1 otherwise. A line on the error stream says so.
    """
    sys.stdout.flush()
    error = _patient["stdout"].error if "stdout" in _patient else None
    if error is None:
        return status
    say(f"{name}: error: the output cannot be printed ({error.strerror}); all else is done", file=sys.stderr)
    sys.stderr.flush()
    if status:
        return status
    return BY_SIGNAL + signal.SIGPIPE if error.errno == errno.EPIPE else _CANNOT_PRINT
