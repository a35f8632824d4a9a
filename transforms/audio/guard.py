"""What a decoder raises becomes that clip's reject; what the file itself raises stays as it is."""

import contextlib
import copy
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from transforms.errors import ClipError, Reason

# These mean that the worker is broken, whatever the file: no memory, or an installation with a part missing.
# KeyboardInterrupt and SystemExit are no `Exception`, and pass anyway.
_WORKERS_OWN = (MemoryError, ImportError)
_MESSAGE_CHARACTERS = 200


class WatchedFile:
    """A file, or a part of one, with a position of its own, that remembers the error of the file below.

    Decoders take a read that fails for the end of the file, print it, or wrap it in an error of theirs. Here
    such a read gives no bytes, and `judged` raises its error after the decoder has returned.

    Args:
      file: seekable, open in binary mode; the caller's to close.

    Attributes:
      size: bytes.
    """

    def __init__(self, file: BinaryIO):
        self.size = file.seek(0, os.SEEK_END)
        self._file = file
        self._start = 0
        self._position = 0
        self._errors: list[Exception] = []  # one list for all parts

    @property
    def error(self) -> Exception | None:
        """What the file raised, first; None if nothing."""
        return self._errors[0] if self._errors else None

    def part(self, start: int, end: int) -> "WatchedFile":
        """The bytes from `start` to `end`, as a file whose errors are this one's."""
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
def judged(file: WatchedFile, reason: Reason) -> Iterator[None]:
    """Runs a step of a decoder.

    Raises:
      ClipError: the decoder raised it, or any other exception, whose class and message it then names.
      MemoryError, ImportError: the worker's own.
      What the file raised when it was read, whatever the decoder made of it.
    """
    try:
        yield
    except _WORKERS_OWN:
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
