"""The messages between a decoder process and its parent, and their transport.

A worked example: the parent extracts the examples of one clip.

    parent                               child
    OPEN size, descriptor     ------->   opens the file
                              <-------   VALUE 44100
    EXAMPLES start, stop, ... ------->   computes the first array
                              <-------   READ position, bytes     only if there is no descriptor:
    DATA                      ------->                            the parent reads the file
                              <-------   ARRAY                    in shared memory; the parent copies it
    NEXT                      ------->   computes the next array while the parent uses the first one
                              <-------   LAST                     with the number of samples of the span
"""

import contextlib
import enum
import json
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

# Kind; bytes of the body; number of samples; and for an array its type, three dimensions (0 for those that it
# does not have), and whether it is in the shared memory.
_HEADER = struct.Struct("<BQQc3I?")
_POSITION = struct.Struct("<q")
# The shared memory holds a position and then one array. Unused pages of it take no memory.
_ARRAY_OFFSET = mmap.PAGESIZE
_SHARED_BYTES = _ARRAY_OFFSET + MAX_BYTES


class Message(enum.IntEnum):
    """The kinds of messages, each with its value. The answers come in the order of the commands."""

    # Commands. OPEN and DURATION have the file's size in bytes and, for a plain file, its descriptor.
    OPEN = enum.auto()  # answered by VALUE: sample rate
    DURATION = enum.auto()  # answered by VALUE: seconds
    # BLOCKS and EXAMPLES have start and stop in samples; EXAMPLES also has the extraction. The answer is that
    # of NEXT, for the first array. A span without a stop closes the file when it was read to its end.
    BLOCKS = enum.auto()
    EXAMPLES = enum.auto()
    NEXT = enum.auto()  # answered by ARRAY or LAST, or by END if no array was left
    HAS_SAMPLE = enum.auto()  # a position in samples; answered by VALUE: whether there is a sample
    CLOSE = enum.auto()  # answered by END
    # Answers.
    READY = enum.auto()
    VALUE = enum.auto()
    ARRAY = enum.auto()  # an array of the span; more may follow
    LAST = enum.auto()  # the span's last array, and its number of samples
    END = enum.auto()  # the span's number of samples
    CLIP_ERROR = enum.auto()  # reason, message
    FILE_ERROR = enum.auto()  # errno, message
    BUG = enum.auto()  # a traceback, as bytes
    # Between a command and its answer, any number of times, if the parent reads the file.
    READ = enum.auto()  # position and number of bytes
    DATA = enum.auto()  # bytes


class DisconnectedError(Exception):
    """The other process has ended."""


class Received(NamedTuple):
    """A message. The body of ARRAY and LAST is an array; other bodies are bytes."""

    kind: Message
    num_samples: int
    body: Any
    descriptors: list[int]

    @property
    def value(self) -> Any:
        """The value that was sent as JSON; None if there was none."""
        return json.loads(self.body.tobytes() or "null")


class Channel:
    """Messages both ways over a Unix socket, and arrays one way through memory that both processes map.

    Shared memory takes one copy on each side and no system call. Through the socket, an array took several of
    both, and each of them woke the other process. The memory has room for one array, so the child may send
    the next one only after the parent has received that one.

    Args:
      shared: descriptor of a file from `make_shared`.
    """

    def __init__(self, connection: socket.socket, shared: int):
        # Libraries such as Google's set a default timeout, which makes both ends of a new socket pair
        # non-blocking.
        connection.setblocking(True)
        self._socket = connection
        self._memory = mmap.mmap(shared, _SHARED_BYTES)

    @property
    def position(self) -> int:
        """A number that the other process may set at any time."""
        (position,) = _POSITION.unpack_from(self._memory)
        return position

    @position.setter
    def position(self, position: int) -> None:
        _POSITION.pack_into(self._memory, 0, position)

    def send(
        self, kind: Message, value: Any = None, descriptors: Sequence[int] = (), num_samples: int = 0
    ) -> None:
        """Send a message; the value is bytes, a non-empty array of 1 to 3 dimensions, or sent as JSON.

        Raises:
          DisconnectedError: the other process has ended.
        """
        char, dimensions, is_shared = b" ", (0, 0, 0), False
        if isinstance(value, np.ndarray):
            flat = np.ascontiguousarray(value).reshape(-1)
            char, dimensions = flat.dtype.char.encode(), (*value.shape, 0, 0)[:3]
            length, is_shared = flat.nbytes, flat.nbytes <= MAX_BYTES
            if is_shared:
                np.copyto(self._shared_array(flat.dtype, flat.size), flat)
            body = b"" if is_shared else flat.view(np.uint8).data
        else:
            is_json = value is not None and not isinstance(value, bytes)
            body = json.dumps(value).encode() if is_json else value or b""
            length = len(body)
        header = _HEADER.pack(kind, length, num_samples, char, *dimensions, is_shared)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]
        try:
            sent = self._socket.sendmsg([header, body], rights if descriptors else [])
            if sent < len(header) + len(body):
                self._socket.sendall(memoryview(b"".join([header, body]))[sent:])
        except ConnectionError as error:
            raise DisconnectedError from error

    def receive(self) -> Received:
        """Wait for a message; an array is returned as a copy.

        Raises:
          DisconnectedError: the other process has ended.
        """
        try:
            header, descriptors, _, _ = socket.recv_fds(self._socket, _HEADER.size, 1, socket.MSG_WAITALL)
            if len(header) < _HEADER.size:
                raise DisconnectedError
            kind, length, num_samples, char, *dimensions, is_shared = _HEADER.unpack(header)
            if is_shared:
                dtype = np.dtype(char.decode())
                body = self._shared_array(dtype, length // dtype.itemsize).copy()
            else:
                body = np.empty(length, np.uint8)
                rest = body.data
                while rest:
                    count = self._socket.recv_into(rest, 0, socket.MSG_WAITALL)
                    if not count:
                        raise DisconnectedError
                    rest = rest[count:]
        except ConnectionError as error:
            raise DisconnectedError from error
        if dimensions[0]:
            array = body.view(char.decode()).reshape([size for size in dimensions if size])
            return Received(Message(kind), num_samples, array, descriptors)
        return Received(Message(kind), num_samples, body.data, descriptors)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(BufferError):  # another thread still reads it, and then frees it
            self._memory.close()

    def _shared_array(self, dtype: np.dtype, size: int) -> NDArray:
        return np.frombuffer(self._memory, dtype, size, _ARRAY_OFFSET)


def make_shared() -> int:
    """Return the descriptor of a new unnamed file, for the arrays of both ends of a channel."""
    if sys.platform == "linux":
        shared = os.memfd_create("arrays")
    else:
        shared, path = tempfile.mkstemp()
        os.unlink(path)
    os.truncate(shared, _SHARED_BYTES)
    return shared
