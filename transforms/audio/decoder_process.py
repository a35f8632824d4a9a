"""The process in which files are decoded: what kills it, or hangs, is its death and nobody else's.

Started by `transforms.audio.isolation`, which it serves until that hangs up. It imports the decoders and
nothing else, so it starts in 0.1 s and takes 35 MB, or 70 MB once it has read a container.
"""

import collections
import contextlib
import enum
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decode import AudioStream, mono_blocks, open_audio
from transforms.errors import ClipError, Reason

# A header can ask for any amount. Ten hours of M4A, whose index is the longest, take 0.18 GB in all.
MEMORY_BYTES = 1 << 30

# A read of the file; one of the parent's file is a question and an answer, 30 us.
_READ_BYTES = 1 << 17
_HEADER = struct.Struct("<BQ")
_SPAN = struct.Struct("<QQ")


class Message(enum.IntEnum):
    """What the two processes say to each other; each command has one answer, in its turn."""

    # Commands; the first two come with the file's size in bytes and, of a plain file, its descriptor.
    OPEN = enum.auto()  # answered by VALUE: rate_hz, channels, num_frames
    DURATION = enum.auto()  # answered by VALUE: seconds
    NEXT = enum.auto()  # answered by BLOCK or BLOCK_FLOAT32, or END
    CLOSE = enum.auto()  # answered by END
    # Answers.
    READY = enum.auto()
    VALUE = enum.auto()  # JSON
    BLOCK = enum.auto()  # float64[samples]
    BLOCK_FLOAT32 = enum.auto()  # float32[samples]
    END = enum.auto()
    CLIP_ERROR = enum.auto()  # JSON: reason, message
    FILE_ERROR = enum.auto()  # JSON: errno, message
    BUG = enum.auto()  # a traceback
    # Between a command and its answer, any number of times, where the parent reads the file.
    READ = enum.auto()  # position and number of bytes
    DATA = enum.auto()


BLOCK_TYPES = {Message.BLOCK: np.float64, Message.BLOCK_FLOAT32: np.float32}


class HangUpError(Exception):
    """The other process is gone."""


class Channel:
    """Messages both ways over a Unix socket."""

    def __init__(self, connection: socket.socket):
        # Libraries set a default timeout (Google's do), which makes a new socket one that does not wait, and
        # the child's end with it.
        connection.setblocking(True)
        self._socket = connection

    def send(self, kind: Message, body: Any = b"", descriptors: Sequence[int] = ()) -> None:
        """Sends a message; `body` is bytes or an array.

        Raises:
          HangUpError: the other process is gone.
        """
        view = memoryview(body).cast("B")
        header = _HEADER.pack(kind, len(view))
        try:
            if descriptors:
                socket.send_fds(self._socket, [header], descriptors)
            else:
                self._socket.sendall(header)
            self._socket.sendall(view)
        except ConnectionError as error:
            raise HangUpError from error

    def receive(self) -> tuple[Message, memoryview, list[int]]:
        """Waits for a message: its kind, its body, and the file descriptors that came with it.

        Raises:
          HangUpError: the other process is gone.
        """
        try:
            header, descriptors, _, _ = socket.recv_fds(self._socket, _HEADER.size, 1, socket.MSG_WAITALL)
            if len(header) < _HEADER.size:
                raise HangUpError
            kind, length = _HEADER.unpack(header)
            body = rest = np.empty(length, np.uint8).data
            while rest:
                count = self._socket.recv_into(rest, 0, socket.MSG_WAITALL)
                if not count:
                    raise HangUpError
                rest = rest[count:]
        except ConnectionError as error:
            raise HangUpError from error
        return Message(kind), body, descriptors

    def close(self) -> None:
        self._socket.close()


def unpack_span(body: memoryview) -> tuple[int, int]:
    """Position and number of bytes that a READ asks for."""
    position, num_bytes = _SPAN.unpack(body)
    return position, num_bytes


class DecoderProcess:
    """Answers commands, one after the other.

    Args:
      channel: to the parent.
      limit_s: seconds that a step (opening, a block, closing) may take; the time in which the file is read,
        or the parent waited for, does not count.
    """

    def __init__(self, channel: Channel, limit_s: float):
        self._channel = channel
        self._limit_s = limit_s
        self._early = collections.deque[tuple[Message, memoryview, list[int]]]()
        self._opened = contextlib.ExitStack()
        self._blocks: Iterator[NDArray[np.floating]] = iter(())
        self._raw: _RawFile | None = None

    def run(self) -> None:
        """Serves until the parent hangs up."""
        self._channel.send(Message.READY)
        while True:
            kind, body, descriptors = self._early.popleft() if self._early else self._channel.receive()
            # Nobody handles this signal: it ends the process even inside a loop of the decoder's C code.
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
            answer = self._answer(kind, body, descriptors)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._channel.send(*answer)

    def _answer(self, kind: Message, body: memoryview, descriptors: list[int]) -> tuple[Message, Any]:
        """Does what a command says, and leaves the file where it is read to its end or goes wrong."""
        try:
            answer = self._do(kind, body, descriptors)
        except ClipError as error:
            answer = Message.CLIP_ERROR, _json([error.reason, str(error)])
        except MemoryError:
            message = f"the decoder asks for more than {MEMORY_BYTES >> 20} MiB of memory"
            answer = Message.CLIP_ERROR, _json([Reason.CORRUPT, message])
        except BaseException:
            answer = Message.BUG, traceback.format_exc().encode(errors="backslashreplace")
        # Before all else, since a decoder takes what could not be read for the end, or for damage.
        if self._raw is not None and self._raw.error is not None:
            answer = Message.FILE_ERROR, _json([self._raw.error.errno, self._raw.error.strerror])
        if kind is Message.DURATION or answer[0] not in (Message.VALUE, *BLOCK_TYPES):
            self._close()
        return answer

    def _do(self, kind: Message, body: memoryview, descriptors: list[int]) -> tuple[Message, Any]:
        if kind is Message.NEXT:
            block = next(self._blocks, None)
            if block is None:
                return Message.END, b""
            return (Message.BLOCK_FLOAT32 if block.dtype == np.float32 else Message.BLOCK), block
        if kind is Message.CLOSE:
            return Message.END, b""
        stream = self._open(json.loads(body.tobytes()), *descriptors)
        if kind is Message.DURATION:
            return Message.VALUE, _json(self._duration_s(stream))
        header = {"rate_hz": stream.rate_hz, "channels": stream.channels, "num_frames": stream.num_frames}
        return Message.VALUE, _json(header)

    def _open(self, size: int, descriptor: int | None = None) -> AudioStream:
        self._close()
        self._raw = (
            _ParentsFile(size, self._channel, self._early)
            if descriptor is None
            else _PlainFile(size, descriptor)
        )
        file = self._opened.enter_context(io.BufferedReader(self._raw, _READ_BYTES))
        stream = self._opened.enter_context(open_audio(file))
        self._blocks = mono_blocks(stream)
        return stream

    def _duration_s(self, stream: AudioStream) -> float:
        frames = stream.num_frames
        if frames is None:
            frames = 0
            for block in stream.blocks():
                frames += len(block)
                signal.setitimer(signal.ITIMER_REAL, self._limit_s)
        return frames / stream.rate_hz

    def _close(self) -> None:
        self._blocks, self._raw = iter(()), None
        self._opened.close()


class _RawFile(io.RawIOBase):
    """The clip's bytes, with a position of its own; no hang is the time that reading takes.

    Attributes:
      error: what went wrong in reading, which decoders would take for the end of the file.
    """

    def __init__(self, size: int):
        self.error: OSError | None = None
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        position = offset + (0, self._position, self._size)[whence]
        if not 0 <= position < 1 << 62:
            raise ValueError(f"no position in a file: {position}")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(self._size - self._position, 0)]
        if not view or self.error is not None:
            return 0
        left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            count = self._read_at(self._position, view)
        except OSError as error:
            self.error = error
            return 0
        except HangUpError:  # comes again where the answer is sent, and not inside a callback
            return 0
        finally:
            signal.setitimer(signal.ITIMER_REAL, left_s)
        self._position += count
        return count

    def _read_at(self, position: int, view: memoryview) -> int:
        raise NotImplementedError


class _PlainFile(_RawFile):
    """A file of this machine, by its descriptor, which it closes; the parent's position stays as it is."""

    def __init__(self, size: int, descriptor: int):
        super().__init__(size)
        self._descriptor = descriptor

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _read_at(self, position: int, view: memoryview) -> int:
        return os.preadv(self._descriptor, [view], position)


class _ParentsFile(_RawFile):
    """A file that only the parent can read."""

    def __init__(self, size: int, channel: Channel, early: collections.deque):
        super().__init__(size)
        self._channel = channel
        self._early = early

    def _read_at(self, position: int, view: memoryview) -> int:
        self._channel.send(Message.READ, _SPAN.pack(position, len(view)))
        # Commands may have been sent before the parent read the question.
        while (message := self._channel.receive())[0] is not Message.DATA:
            self._early.append(message)
        data = message[1]
        view[: len(data)] = data
        return len(data)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _silence_libraries() -> None:
    """Discards what C libraries print, such as mpg123's warnings; errors of Python are still shown."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def main() -> None:
    _silence_libraries()
    descriptor, limit_s = int(sys.argv[1]), float(sys.argv[2])
    # It ends when the parent hangs up, and with that alone: the terminal sends Ctrl-C to both.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    with contextlib.suppress(HangUpError):
        DecoderProcess(Channel(socket.socket(fileno=descriptor)), limit_s).run()


if __name__ == "__main__":
    main()
