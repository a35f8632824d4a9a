"""The parent's side of a running decoder process: start it, send commands, receive answers, stop it."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from numpy.typing import NDArray

from transforms.audio.isolated.channel import Channel, DisconnectedError, Message, Received, make_shared
from transforms.errors import ClipError, Reason
from transforms.launcher import halt_if_ended

# Without the current folder, which Python 3.10 puts first whatever PYTHONSAFEPATH says.
_PROGRAM = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); "
    "from transforms.audio.isolated.decoder_process import main; main()"
)

# The libraries that NumPy may use for matrix products read their number of threads from these variables.
_NUM_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# Larger in-memory files are not copied as a whole.
_SCRATCH_BYTES = 1 << 24


class ChildDiedError(Exception):
    """The child died while it decoded a file, after `position` samples."""

    def __init__(self, number: int, limit_s: float, position: int):
        self.position = position
        self.is_hang = number == signal.SIGALRM
        if self.is_hang:
            super().__init__(f"the decoder hangs: nothing for {limit_s:g} s")
        else:
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            super().__init__(f"the decoder crashed ({name})")


class Child:
    """A running `decoder_process`.

    Attributes:
      num_files: number of files that it was given.
      num_samples: length of the last span that was read to its end.
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
            stack.callback(os.close, shared)  # each channel has its own mapping
            settings = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
            # One thread, because the children share the cores.
            settings |= dict.fromkeys(_NUM_THREADS, "1")
            # Otherwise glibc returns each block's memory and requests it again, zeroed: 0.8 ms per 10 s clip.
            settings |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 24))
            # A thread whose decoder was killed at the end of the run would otherwise start another one.
            halt_if_ended()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(shared), str(limit_s)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), shared],
                    env={**os.environ, **settings},
                )
            except OSError as error:
                raise RuntimeError(f"the decoder process cannot be started: {error}") from error
        # In-memory files are copied here, which is faster than reading them on request of the child.
        self._scratch = os.memfd_create("clip") if sys.platform == "linux" else None
        # This also runs at exit, or when the owner is garbage-collected without being closed.
        self._end = weakref.finalize(self, _kill, self._process, self._channel, self._scratch)
        try:
            self._channel.receive()
        except DisconnectedError:
            status = self._process.wait()
            raise RuntimeError(f"the decoder process did not start: it ended with status {status}") from None
        except BaseException:
            self.stop()
            raise

    @property
    def is_stopped(self) -> bool:
        return not self._end.alive

    def stop(self) -> None:
        self._end()

    def open(self, command: Message, file: BinaryIO) -> Any:
        """Send OPEN or DURATION and return the answer."""
        size = file.seek(0, os.SEEK_END)
        descriptors = self._descriptors(file, size)
        self._file = None if descriptors else file
        self.num_files += 1
        self._send(command, size, descriptors)
        self._is_open = command is Message.OPEN
        return self._receive().value

    def _descriptors(self, file: BinaryIO, size: int) -> list[int]:
        """Return a descriptor from which the child can read the file; none if it has to ask for the bytes."""
        # Other files may have a descriptor with different bytes: those of a GzipFile are compressed.
        if type(file) is io.BufferedReader and type(file.raw) is io.FileIO:
            return [file.fileno()]
        if isinstance(file, io.BytesIO) and size <= _SCRATCH_BYTES and self._scratch is not None:
            os.pwrite(self._scratch, file.getbuffer(), 0)
            return [self._scratch]
        return []

    def ask(self, command: Message, request: Any) -> Any:
        """Send HAS_SAMPLE and return the answer."""
        self.drop_pending()
        self._send(command, request)
        return self._receive().value

    def arrays(
        self, command: Message, start: int, stop: int | None, *extraction: dict[str, Any]
    ) -> Iterator[NDArray]:
        """Send BLOCKS or EXAMPLES and yield the arrays; the child computes the next one meanwhile."""
        self.drop_pending()
        self._send(command, [start, stop, *extraction])
        while (answer := self._receive()).kind is Message.ARRAY:
            self._send(Message.NEXT)
            yield answer.body
        self._is_open = stop is not None
        self.num_samples = answer.num_samples
        if answer.kind is Message.LAST:
            yield answer.body

    def close_file(self) -> None:
        """Close the open file, if any; `drop_pending` waits until the child has closed it too."""
        self._file = None
        if self._is_open and not self.is_stopped:
            self._send(Message.CLOSE)
        self._is_open = False

    def drop_pending(self) -> None:
        """Discard the answers that are still due, for arrays that were computed ahead and are not needed."""
        while not self.is_stopped and self._unanswered:
            with contextlib.suppress(ClipError, RuntimeError, OSError):
                self._receive()

    def _send(self, command: Message, request: Any = None, descriptors: Sequence[int] = ()) -> None:
        self._unanswered += 1
        # A dead child may have left answers to read before the end of the connection.
        with contextlib.suppress(DisconnectedError):
            self._channel.send(command, request, descriptors)

    def _receive(self) -> Received:
        """Return the next answer; until it comes, read the file for the child."""
        try:
            while (message := self._channel.receive()).kind is Message.READ:
                self._channel.send(Message.DATA, self._read(*message.value))
        except DisconnectedError:
            status, position = self._process.wait(), self._channel.position
            self.stop()
            if status < 0:
                raise ChildDiedError(-status, self._limit_s, position) from None
            raise RuntimeError(f"the decoder process ended with status {status}") from None
        except BaseException:
            self.stop()  # the child waits for bytes that will not come
            raise
        self._unanswered -= 1
        if message.kind is Message.CLIP_ERROR:
            reason, text = message.value
            raise ClipError(Reason(reason), text)
        if message.kind is Message.FILE_ERROR:
            raise OSError(*message.value)
        if message.kind is Message.BUG:
            raise RuntimeError(f"in the decoder process:\n{message.body.tobytes().decode()}")
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
