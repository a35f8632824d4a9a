"""Decoding in a process of its own: a file that crashes the decoder, or hangs it, costs its clip alone."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.audio import decode
from transforms.audio.decoder_process import BLOCK_TYPES, Channel, HangUpError, Message, unpack_span
from transforms.errors import ClipError, Reason

# A step is a block of 1.5 s of audio, or 6 s of a container's; none takes a second.
STEP_LIMIT_S = 30.0

# The largest in-memory file that is copied whole.
_SCRATCH_BYTES = 1 << 24
# Blocks that are asked for before they are needed: one is decoded while the one before is worked on.
_AHEAD = 2


@dataclass(frozen=True)
class MonoAudio:
    """Audio that is read once, from front to back, as the mean of its channels.

    Attributes:
      rate_hz, channels: as the file has them.
      num_frames: its length by the header; None where only decoding tells.
      blocks: what `decode.mono_blocks` yields, and it raises ClipError as that does.
    """

    rate_hz: int
    channels: int
    num_frames: int | None
    blocks: Iterator[NDArray[np.floating]]


class Decoder(Protocol):
    """Opens one audio file at a time; takes files, and raises ClipError, as `decode.open_audio` does."""

    def open(self, file: BinaryIO) -> contextlib.AbstractContextManager[MonoAudio]:
        """Opens a file for one reading; leaving it before its end is fine."""

    def duration_s(self, file: BinaryIO) -> float:
        """Length of the audio in seconds, as `decode.duration_s`."""


class PlainDecoder:
    """Decodes in this process."""

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[MonoAudio]:
        with decode.open_audio(file) as stream:
            yield MonoAudio(stream.rate_hz, stream.channels, stream.num_frames, decode.mono_blocks(stream))

    def duration_s(self, file: BinaryIO) -> float:
        return decode.duration_s(file)


class IsolatedDecoder:
    """Decodes, to the same bits, in a process that is started for the first file and serves the next ones.

    Not to be used by two threads at once. Until its first file it can be pickled.

    Beside what `decode` raises:
      ClipError: CRASHED where the file makes the decoder crash or hang.
      RuntimeError: a bug, with its traceback from the process; or the process cannot be started.
      What the file itself raises when it is read.

    Args:
      limit_s: after so many seconds in which a decoder gives nothing, it hangs; reading the file is not
        counted.
    """

    def __init__(self, limit_s: float = STEP_LIMIT_S):
        self._limit_s = limit_s
        self._child: _Child | None = None
        self._current: object = None  # the stream that is open

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[MonoAudio]:
        self._leave()
        header = self._ask(Message.OPEN, file)
        stream = self._current = object()
        try:
            yield MonoAudio(**header, blocks=self._blocks(stream, file, header["rate_hz"]))
        finally:
            # A generator that holds this may be closed late, when another stream is open.
            if self._current is stream:
                self._leave()

    def duration_s(self, file: BinaryIO) -> float:
        self._leave()
        return self._ask(Message.DURATION, file)

    def close(self) -> None:
        """Ends the process; the next file would start another."""
        self._current = None
        if self._child is not None:
            self._child.stop()

    def _leave(self) -> None:
        self._current = None
        if self._child is not None:
            self._child.finish()

    def _ask(self, command: Message, file: BinaryIO) -> Any:
        while True:
            if self._child is None or self._child.is_stopped:
                self._child = _Child(self._limit_s)
            try:
                return self._child.ask(command, file)
            except _DeathError as death:
                self._judge(self._child, death, "at the file's header")

    def _blocks(self, stream: object, file: BinaryIO, rate_hz: int) -> Iterator[NDArray[np.floating]]:
        position = 0
        while self._child is not None and self._current is stream:
            known = position  # of a second attempt
            try:
                for block in self._child.blocks():
                    new = block[known:]
                    known -= len(block) - len(new)
                    position += len(new)
                    if len(new):
                        yield new
                    if self._current is not stream:
                        break
                else:
                    return
            except _DeathError as death:
                self._judge(self._child, death, f"after {position / rate_hz:.2f} s")
                self._ask(Message.OPEN, file)
        raise RuntimeError("the audio was left before its blocks were read")

    @staticmethod
    def _judge(child: "_Child", death: "_DeathError", when: str) -> None:
        """Raises ClipError, unless an earlier file may have damaged the memory, or another process killed
        it: then the file has a second chance, in a process that has seen no other."""
        if child.num_files == 1 or death.is_hang:
            raise ClipError(Reason.CRASHED, f"{death}, {when}") from death


class _DeathError(Exception):
    """The child died over a file."""

    def __init__(self, number: int, limit_s: float):
        self.is_hang = number == signal.SIGALRM
        if self.is_hang:
            super().__init__(f"the decoder hangs: nothing for {limit_s:g} s")
        else:
            super().__init__(f"the decoder crashed ({_signal_name(number)})")


class _Child:
    """A running `decoder_process`.

    Attributes:
      num_files: that it was given.
    """

    def __init__(self, limit_s: float):
        self.num_files = 0
        self._limit_s = limit_s
        self._is_open = False
        self._unanswered = 0
        self._file: BinaryIO | None = None
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with theirs:
            command = [sys.executable, "-m", "transforms.audio.decoder_process"]
            # One thread, since each of numpy's takes memory, and no module from wherever the user stands.
            settings = {"PYTHONPATH": _search_path(), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
            # glibc gives a block's memory back each time and gets it anew, zeroed: 0.8 ms a clip of 10 s.
            settings |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 24))
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(limit_s)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **settings},
                )
            except OSError as error:
                raise RuntimeError(f"the decoder's process cannot be started: {error}") from error
        # In-memory files are copied there, which is faster than to read them for the child.
        self._scratch = os.memfd_create("clip") if sys.platform == "linux" else None
        # Also at exit, or when its owner is forgotten without being closed.
        self._end = weakref.finalize(self, _kill, self._process, self._channel, self._scratch)
        try:
            self._channel.receive()
        except HangUpError:
            status = self._process.wait()
            raise RuntimeError(f"the decoder's process does not start: it ends with {status}") from None
        except BaseException:
            self.stop()
            raise

    @property
    def is_stopped(self) -> bool:
        return not self._end.alive

    def stop(self) -> None:
        self._end()

    def ask(self, command: Message, file: BinaryIO) -> Any:
        """The answer to OPEN or DURATION."""
        file.seek(0, os.SEEK_END)
        size = file.tell()
        descriptors = self._descriptors(file, size)
        self._file = None if descriptors else file
        self.num_files += 1
        self._send(command, json.dumps(size).encode(), descriptors)
        _, body = self._receive()
        self._is_open = command is Message.OPEN
        return json.loads(body.tobytes())

    def _descriptors(self, file: BinaryIO, size: int) -> list[int]:
        """The descriptor where the child finds the file's bytes; none where it has to ask for them."""
        # Others have descriptors too, but of other bytes: a GzipFile's are compressed.
        if type(file) is io.BufferedReader and type(file.raw) is io.FileIO:
            return [file.fileno()]
        if isinstance(file, io.BytesIO) and size <= _SCRATCH_BYTES and self._scratch is not None:
            os.pwrite(self._scratch, file.getbuffer(), 0)
            return [self._scratch]
        return []

    def blocks(self) -> Iterator[NDArray[np.floating]]:
        """Yields the opened file's blocks."""
        for _ in range(_AHEAD):
            self._send(Message.NEXT)
        while True:
            kind, body = self._receive()
            if kind is Message.END:
                return
            self._send(Message.NEXT)
            yield np.frombuffer(body, BLOCK_TYPES[kind])

    def finish(self) -> None:
        """Leaves the file that is open, if any, and waits until the child has left it too."""
        self._file = None
        if self._is_open and not self.is_stopped:
            self._send(Message.CLOSE)
        self._is_open = False
        while not self.is_stopped and self._unanswered:
            # Of what was decoded ahead and is not wanted.
            with contextlib.suppress(ClipError, RuntimeError, OSError, _DeathError):
                self._receive()

    def _send(self, command: Message, body: bytes = b"", descriptors: list[int] | None = None) -> None:
        self._unanswered += 1
        # Where it is dead, there may still be answers to read, and then the end.
        with contextlib.suppress(HangUpError):
            self._channel.send(command, body, descriptors or [])

    def _receive(self) -> tuple[Message, memoryview]:
        """The next answer; reads the file for the child until it comes."""
        try:
            while (message := self._channel.receive())[0] is Message.READ:
                self._channel.send(Message.DATA, self._read(*unpack_span(message[1])))
        except HangUpError:
            status = self._process.wait()
            self.stop()
            if status < 0:
                raise _DeathError(-status, self._limit_s) from None
            raise RuntimeError(f"the decoder's process ended with {status}") from None
        except BaseException:
            self.stop()  # it waits for bytes that will not come
            raise
        self._unanswered -= 1
        kind, body, _ = message
        if kind is Message.CLIP_ERROR:
            reason, text = json.loads(body.tobytes())
            raise ClipError(Reason(reason), text)
        if kind is Message.FILE_ERROR:
            raise OSError(*json.loads(body.tobytes()))
        if kind is Message.BUG:
            raise RuntimeError(f"in the decoder's process:\n{body.tobytes().decode()}")
        return kind, body

    def _read(self, position: int, num_bytes: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(position)
        return self._file.read(num_bytes)


def _kill(process: subprocess.Popen, channel: Channel, scratch: int | None) -> None:
    process.kill()
    process.wait()
    channel.close()
    if scratch is not None:
        os.close(scratch)


def _search_path() -> str:
    return os.pathsep.join(os.path.abspath(folder) for folder in sys.path)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
