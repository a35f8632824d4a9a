"""What a decoder's process and its parent say to each other, and how that is sent."""

import contextlib
import enum
import mmap
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.audio.extraction import MAX_BYTES

# Kind and bytes; a number of samples; and of an array its type, three dimensions (0: it has fewer), and
# whether it stands in the shared memory.
_HEADER = struct.Struct("<BQQc3I?")
_SPAN = struct.Struct("<QQ")
_POSITION = struct.Struct("<q")
# The shared memory holds a position and then an array. Only what is used of it is there.
_ARRAY_AT = mmap.PAGESIZE
_SHARED_BYTES = _ARRAY_AT + MAX_BYTES


class Message(enum.IntEnum):
    """Each command has one answer, in its turn."""

    # Commands; the first two come with the file's size in bytes and, of a plain file, its descriptor.
    OPEN = enum.auto()  # answered by VALUE: rate_hz, channels, num_frames
    DURATION = enum.auto()  # answered by VALUE: seconds
    # Start and stop in samples, and of EXAMPLES the extraction; answered as NEXT, of the first array. Read to
    # its end, a span without a stop closes the file.
    BLOCKS = enum.auto()
    EXAMPLES = enum.auto()
    NEXT = enum.auto()  # answered by ARRAY, or by LAST, or by END where there was no array left
    GOES_ON = enum.auto()  # a position in samples; answered by VALUE: whether there is one
    CLOSE = enum.auto()  # answered by END
    # Answers.
    READY = enum.auto()
    VALUE = enum.auto()  # JSON
    ARRAY = enum.auto()  # of a span, and more may follow
    LAST = enum.auto()  # the span's last array, and its number of samples
    END = enum.auto()  # the span's number of samples
    CLIP_ERROR = enum.auto()  # JSON: reason, message
    FILE_ERROR = enum.auto()  # JSON: errno, message
    BUG = enum.auto()  # a traceback
    # Between a command and its answer, any number of times, where the parent reads the file.
    READ = enum.auto()  # position and number of bytes
    DATA = enum.auto()


class HangUpError(Exception):
    """The other process is gone."""


class Received(NamedTuple):
    """A message: its body is an array of ARRAY and LAST, else bytes."""

    kind: Message
    num_samples: int
    body: Any
    descriptors: list[int]


class Channel:
    """Messages both ways over a Unix socket, and arrays one way over memory that both processes map.

    Through the memory an array takes a copy on either side and no system call; through the socket it took
    several of both, and each time woke the other process. There is room for one, so that the next may be sent
    when that one was received.

    Args:
      connection: the socket.
      shared: descriptor of a file of `make_shared`.
    """

    def __init__(self, connection: socket.socket, shared: int):
        # Libraries set a default timeout (Google's do), which makes a new socket one that does not wait, and
        # the child's end with it.
        connection.setblocking(True)
        self._socket = connection
        self._memory = mmap.mmap(shared, _SHARED_BYTES)

    @property
    def position(self) -> int:
        """A number that the other process sets at any time."""
        (position,) = _POSITION.unpack_from(self._memory)
        return position

    @position.setter
    def position(self, position: int) -> None:
        _POSITION.pack_into(self._memory, 0, position)

    def send(
        self, kind: Message, body: Any = b"", descriptors: Sequence[int] = (), num_samples: int = 0
    ) -> None:
        """Sends a message without an array.

        Raises:
          HangUpError: the other process is gone.
        """
        self._send(_HEADER.pack(kind, len(body), num_samples, b" ", 0, 0, 0, False), body, descriptors)

    def send_array(self, kind: Message, array: NDArray, num_samples: int = 0) -> None:
        """Sends ARRAY or LAST, with an array of one to three dimensions, none of them empty.

        Raises:
          HangUpError: the other process is gone.
        """
        flat = np.ascontiguousarray(array).reshape(-1)
        fits = flat.nbytes <= MAX_BYTES
        if fits:
            np.copyto(self._in_memory(flat.dtype, flat.size), flat)
        dimensions = (*array.shape, 0, 0)[:3]
        header = _HEADER.pack(kind, flat.nbytes, num_samples, flat.dtype.char.encode(), *dimensions, fits)
        self._send(header, b"" if fits else flat.view(np.uint8).data, ())

    def receive(self) -> Received:
        """Waits for a message; of an array it makes a copy of its own.

        Raises:
          HangUpError: the other process is gone.
        """
        try:
            header, descriptors, _, _ = socket.recv_fds(self._socket, _HEADER.size, 1, socket.MSG_WAITALL)
            if len(header) < _HEADER.size:
                raise HangUpError
            kind, length, num_samples, char, *dimensions, is_in_memory = _HEADER.unpack(header)
            if is_in_memory:
                dtype = np.dtype(char.decode())
                body = self._in_memory(dtype, length // dtype.itemsize).copy()
            else:
                body = np.empty(length, np.uint8)
                rest = body.data
                while rest:
                    count = self._socket.recv_into(rest, 0, socket.MSG_WAITALL)
                    if not count:
                        raise HangUpError
                    rest = rest[count:]
        except ConnectionError as error:
            raise HangUpError from error
        if dimensions[0]:
            array = body.view(char.decode()).reshape([size for size in dimensions if size])
            return Received(Message(kind), num_samples, array, descriptors)
        return Received(Message(kind), num_samples, body.data, descriptors)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(BufferError):  # a thread reads it yet, and it goes with that
            self._memory.close()

    def _send(self, header: bytes, body: Any, descriptors: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]
        try:
            sent = self._socket.sendmsg([header, body], rights if descriptors else [])
            if sent < len(header) + len(body):
                self._socket.sendall(memoryview(b"".join([header, body]))[sent:])
        except ConnectionError as error:
            raise HangUpError from error

    def _in_memory(self, dtype: np.dtype, size: int) -> NDArray:
        return np.frombuffer(self._memory, dtype, size, _ARRAY_AT)


def make_shared() -> int:
    """The descriptor of a new file without a name, for two channels' arrays."""
    if sys.platform == "linux":
        shared = os.memfd_create("arrays")
    else:
        shared, path = tempfile.mkstemp()
        os.unlink(path)
    os.truncate(shared, _SHARED_BYTES)
    return shared


def pack_span(position: int, num_bytes: int) -> bytes:
    """The body of a READ."""
    return _SPAN.pack(position, num_bytes)


def unpack_span(body: memoryview) -> tuple[int, int]:
    """Position and number of bytes that a READ asks for."""
    position, num_bytes = _SPAN.unpack(body)
    return position, num_bytes
