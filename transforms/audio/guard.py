"""Turn a decoder's exceptions into the clip's rejection, but raise the file's own errors unchanged."""

import contextlib
import copy
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from transforms.errors import ClipError, Reason

# The worker itself fails, whatever the file: it has no memory, or its installation is incomplete.
# KeyboardInterrupt and SystemExit are not subclasses of `Exception`, so they pass anyway.
_WORKER_ERRORS = (MemoryError, ImportError)
_MESSAGE_CHARACTERS = 200


class ErrorKeepingFile:
    """A file, or a part of one, with its own position, that keeps the first error of the underlying file.

    Decoders mistake a failed read for the end of the file, print it, or wrap it in their own error. Here such
    a read returns no bytes, and `clip_errors` raises its error after the decoder has returned.

    Args:
      file: seekable, open in binary mode. The caller closes it.
    """

    def __init__(self, file: BinaryIO):
        self.size = file.seek(0, os.SEEK_END)
        self._file = file
        self._start = 0
        self._position = 0
        self._errors: list[Exception] = []  # shared by all parts

    @property
    def error(self) -> Exception | None:
        """The first exception that the file raised, or None."""
        return self._errors[0] if self._errors else None

    def part(self, start: int, end: int) -> "ErrorKeepingFile":
        """Return the bytes from `start` to `end` as a file that shares this file's errors."""
        part = copy.copy(self)
        part.size, part._start, part._position = max(end - start, 0), self._start + start, 0
        return part

    def read(self, size: int = -1) -> bytes:
        left = max(self.size - self._position, 0)
        buffer = bytearray(left if size < 0 else min(size, left))
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(self.size - self._position, 0)]
        if self._errors or not view:
            return 0
        try:
            self._file.seek(self._start + self._position)
            count = self._file.readinto(view)  # type: ignore[attr-defined]
        except Exception as error:
            self._errors.append(error)
            return 0
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + (0, self._position, self.size)[whence]
        if position < 0:
            raise ValueError(f"no position in a file: {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position


@contextlib.contextmanager
def clip_errors(file: ErrorKeepingFile, reason: Reason) -> Iterator[None]:
    """Run one step of a decoder.

    Raises:
      ClipError: the decoder raised it, or any other exception, which the ClipError then names.
      MemoryError, ImportError: the worker itself fails.
      Exception: the error that the file raised when it was read, whatever the decoder raised.
    """
    try:
        yield
    except _WORKER_ERRORS:
        raise
    except Exception as error:
        if file.error is not None:
            raise file.error from None
        if isinstance(error, ClipError):
            raise
        message = " ".join(str(error).split())[:_MESSAGE_CHARACTERS]
        name = type(error).__name__
        raise ClipError(reason, f"the decoder raises {name}" + (f": {message}" if message else "")) from error
    if file.error is not None:
        raise file.error
