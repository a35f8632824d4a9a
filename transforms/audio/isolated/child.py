"""A running decoder process, seen from its parent: started, asked, listened to, and ended."""

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
from typing import Any, BinaryIO

from numpy.typing import NDArray

from transforms.audio.isolated.channel import (
    Channel,
    HangUpError,
    Message,
    Received,
    make_shared,
    unpack_span,
)
from transforms.errors import ClipError, Reason

# What the libraries that NumPy's products may come from ask for their number of threads.
_NUM_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# The largest in-memory file that is copied whole.
_SCRATCH_BYTES = 1 << 24


class DeathError(Exception):
    """The child died over a file, when it had decoded so many samples."""

    def __init__(self, number: int, limit_s: float, position: int):
        self.position = position
        self.is_hang = number == signal.SIGALRM
        if self.is_hang:
            super().__init__(f"the decoder hangs: nothing for {limit_s:g} s")
        else:
            super().__init__(f"the decoder crashed ({_signal_name(number)})")


class Child:
    """A running `decoder_process`.

    Attributes:
      num_files: that it was given.
      num_samples: of the span that was read last, where that was read to its end.
    """

    def __init__(self, limit_s: float):
        self.num_files = self.num_samples = 0
        self._limit_s = limit_s
        self._is_open = False
        self._unanswered = 0
        self._file: BinaryIO | None = None
        ours, theirs = socket.socketpair()
        shared = make_shared()
        self._channel = Channel(ours, shared)
        with theirs, contextlib.ExitStack() as stack:
            stack.callback(os.close, shared)  # each channel holds it by itself
            command = [sys.executable, "-m", "transforms.audio.isolated.decoder_process"]
            # No module from wherever the user stands, and one thread, since the children share the cores.
            settings = {"PYTHONPATH": _search_path(), "PYTHONSAFEPATH": "1"}
            settings |= dict.fromkeys(_NUM_THREADS, "1")
            # Otherwise glibc returns each block's memory and requests it again, zeroed: 0.8 ms per 10 s clip.
            settings |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 24))
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(shared), str(limit_s)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), shared],
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

    def open(self, command: Message, file: BinaryIO) -> Any:
        """The answer to OPEN or DURATION."""
        file.seek(0, os.SEEK_END)
        size = file.tell()
        descriptors = self._descriptors(file, size)
        self._file = None if descriptors else file
        self.num_files += 1
        self._send(command, size, descriptors)
        self._is_open = command is Message.OPEN
        return json.loads(self._receive().body.tobytes())

    def _descriptors(self, file: BinaryIO, size: int) -> list[int]:
        """The descriptor where the child finds the file's bytes; none where it has to ask for them."""
        # Others have descriptors too, but of other bytes: a GzipFile's are compressed.
        if type(file) is io.BufferedReader and type(file.raw) is io.FileIO:
            return [file.fileno()]
        if isinstance(file, io.BytesIO) and size <= _SCRATCH_BYTES and self._scratch is not None:
            os.pwrite(self._scratch, file.getbuffer(), 0)
            return [self._scratch]
        return []

    def ask(self, command: Message, request: Any) -> Any:
        """The answer to GOES_ON."""
        self.settle()
        self._send(command, request)
        return json.loads(self._receive().body.tobytes())

    def arrays(
        self, command: Message, start: int, stop: int | None, *extraction: dict[str, Any]
    ) -> Iterator[NDArray]:
        """Yields the arrays that answer BLOCKS or EXAMPLES, each while the next one is made."""
        self.settle()
        self._send(command, [start, stop, *extraction])
        while (answer := self._receive()).kind is Message.ARRAY:
            self._send(Message.NEXT)
            yield answer.body
        self._is_open = stop is not None
        self.num_samples = answer.num_samples
        if answer.kind is Message.LAST:
            yield answer.body

    def finish(self) -> None:
        """Leaves the file that is open, if any; `settle` waits until the child has left it too."""
        self._file = None
        if self._is_open and not self.is_stopped:
            self._send(Message.CLOSE)
        self._is_open = False

    def settle(self) -> None:
        """Drops the answers that are due yet: of what was made ahead and is not wanted."""
        while not self.is_stopped and self._unanswered:
            with contextlib.suppress(ClipError, RuntimeError, OSError):
                self._receive()

    def _send(self, command: Message, request: Any = None, descriptors: list[int] | None = None) -> None:
        self._unanswered += 1
        body = b"" if request is None else json.dumps(request).encode()
        # Where it is dead, there may still be answers to read, and then the end.
        with contextlib.suppress(HangUpError):
            self._channel.send(command, body, descriptors or [])

    def _receive(self) -> Received:
        """The next answer; reads the file for the child until it comes."""
        try:
            while (message := self._channel.receive()).kind is Message.READ:
                self._channel.send(Message.DATA, self._read(*unpack_span(message.body)))
        except HangUpError:
            status, position = self._process.wait(), self._channel.position
            self.stop()
            if status < 0:
                raise DeathError(-status, self._limit_s, position) from None
            raise RuntimeError(f"the decoder's process ended with {status}") from None
        except BaseException:
            self.stop()  # it waits for bytes that will not come
            raise
        self._unanswered -= 1
        if message.kind is Message.CLIP_ERROR:
            reason, text = json.loads(message.body.tobytes())
            raise ClipError(Reason(reason), text)
        if message.kind is Message.FILE_ERROR:
            raise OSError(*json.loads(message.body.tobytes()))
        if message.kind is Message.BUG:
            raise RuntimeError(f"in the decoder's process:\n{message.body.tobytes().decode()}")
        return message

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
