"""The process that decodes files, so that a crash or a hang costs one file and not a worker.

`transforms.audio.isolated.isolation` starts it, and it serves requests until its parent disconnects. It also
computes the examples, because the parent's threads share one interpreter lock. It imports only what it needs:
it starts in 0.1 s and uses 45 MB, or 70 MB after it has read a container.
"""

import collections
import contextlib
import functools
import io
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from transforms.audio.decode import AudioStream, mono_blocks, open_audio
from transforms.audio.decoder import InProcessAudio
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.channel import Channel, DisconnectedError, Message, Received
from transforms.errors import ClipError, Reason

# A header can request any amount. Ten hours of M4A, which has the longest index, take 0.18 GB in all.
MEMORY_BYTES = 1 << 30

# Bytes per read. Reading through the parent takes one message each way, 30 us.
_READ_BYTES = 1 << 17


class DecoderProcess:
    """Answers commands one after the other.

    Args:
      limit_s: maximum seconds of a step: opening, decoding and processing a block, or closing. The time for
        reading the file or waiting for the parent does not count.
    """

    def __init__(self, channel: Channel, limit_s: float):
        self._channel = channel
        self._limit_s = limit_s
        self._queued = collections.deque[Received]()
        self._resources = contextlib.ExitStack()
        self._audio: InProcessAudio | None = None
        self._arrays: Iterator[NDArray] = iter(())  # arrays of the current span
        self._rows_per_array = 0  # rows of each array but the last
        self._reads_to_end = False  # whether the span extends to the end of the file
        self._raw: _ClipFile | None = None

    def run(self) -> None:
        """Serve commands until the parent disconnects."""
        self._channel.send(Message.READY)
        while True:
            command = self._queued.popleft() if self._queued else self._channel.receive()
            # The signal has its default action, so it ends the process even in a loop of a decoder's C code.
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
            audio = self._audio
            kind, value = self._answer(command)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._channel.send(kind, value, num_samples=0 if audio is None else audio.num_samples)

    def _answer(self, command: Received) -> tuple[Message, Any]:
        """Execute a command, and close the file if that fails."""
        is_over = command.kind in (Message.DURATION, Message.CLOSE)
        try:
            answer = self._do(command)
            is_over |= self._reads_to_end and answer[0] in (Message.LAST, Message.END)
        except ClipError as error:
            answer = Message.CLIP_ERROR, [error.reason, str(error)]
            is_over |= error.reason is not Reason.TOO_SHORT  # one span may be too short and another follow
        except MemoryError:
            message = f"the decoder asks for more than {MEMORY_BYTES >> 20} MiB of memory"
            answer, is_over = (Message.CLIP_ERROR, [Reason.CORRUPT, message]), True
        except BaseException:
            answer = Message.BUG, traceback.format_exc().encode(errors="backslashreplace")
        # Check this first, since a decoder mistakes a failed read for the end of the file or for damage.
        if self._raw is not None and self._raw.error is not None:
            answer = Message.FILE_ERROR, [self._raw.error.errno, self._raw.error.strerror]
        if is_over or answer[0] in (Message.FILE_ERROR, Message.BUG):
            self._close()
        return answer

    def _do(self, command: Received) -> tuple[Message, Any]:
        kind, request = command.kind, command.value
        if kind in (Message.OPEN, Message.DURATION):
            stream = self._open(request, *command.descriptors)
            return Message.VALUE, self._duration_s(stream) if kind is Message.DURATION else stream.rate_hz
        if kind is Message.HAS_SAMPLE:
            return Message.VALUE, self._audio is not None and self._audio.has_sample_at(request)
        if kind is Message.CLOSE or self._audio is None:
            return Message.END, None
        if kind is Message.BLOCKS:
            start, stop = request
            self._arrays, self._reads_to_end = self._audio.blocks(start, stop), stop is None
            self._rows_per_array = 0
        elif kind is Message.EXAMPLES:
            start, stop, value = request
            extraction = Extraction.from_json(value)
            self._arrays, self._reads_to_end = self._audio.examples(extraction, start, stop), stop is None
            self._rows_per_array = extraction.max_examples(self._audio.rate_hz)
        array = next(self._arrays, None)
        if array is None:
            return Message.END, None
        return Message.LAST if len(array) < self._rows_per_array else Message.ARRAY, array

    def _open(self, size: int, descriptor: int | None = None) -> AudioStream:
        self._close()
        self._channel.position = 0
        if descriptor is not None:
            self._resources.callback(os.close, descriptor)
        self._raw = _ClipFile(size, functools.partial(self._read_at, descriptor))
        file = self._resources.enter_context(io.BufferedReader(self._raw, _READ_BYTES))
        stream = self._resources.enter_context(open_audio(file))
        self._audio = InProcessAudio(stream.rate_hz, self._counted_blocks(mono_blocks(stream)))
        return stream

    def _read_at(self, descriptor: int | None, position: int, view: memoryview) -> int:
        if descriptor is not None:
            return os.preadv(descriptor, [view], position)  # the parent's file position does not change
        self._channel.send(Message.READ, [position, len(view)])
        # The parent may have sent commands before it received READ.
        while (message := self._channel.receive()).kind is not Message.DATA:
            self._queued.append(message)
        data = message.body
        view[: len(data)] = data
        return len(data)

    def _counted_blocks(self, blocks: Iterator[NDArray]) -> Iterator[NDArray]:
        """Yield the blocks, each with its own time limit, and count samples for the parent."""
        for block in blocks:
            self._channel.position += len(block)
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
            yield block

    def _duration_s(self, stream: AudioStream) -> float:
        frames = stream.num_frames
        if frames is None:
            frames = sum(map(len, self._counted_blocks(stream.blocks())))
        return frames / stream.rate_hz

    def _close(self) -> None:
        self._audio, self._arrays, self._raw = None, iter(()), None
        self._resources.close()


class _ClipFile(io.RawIOBase):
    """The clip's bytes, with its own position. Reading does not count towards the time limit.

    Args:
      read_at: fills a buffer from a position on, and returns the number of bytes.

    Attributes:
      error: the first error of a read, which decoders would mistake for the end of the file.
    """

    def __init__(self, size: int, read_at: Callable[[int, memoryview], int]):
        self.error: OSError | None = None
        self._size = size
        self._read_at = read_at
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
        except DisconnectedError:  # sending the answer raises it again, outside of the decoder's callback
            return 0
        finally:
            signal.setitimer(signal.ITIMER_REAL, left_s)
        self._position += count
        return count


def _silence_libraries() -> None:
    """Discard what C libraries print, such as mpg123's warnings; Python's errors are still shown."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def main() -> None:
    _silence_libraries()
    connection, shared, limit_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    # The process ends only when the parent disconnects; the terminal sends Ctrl-C to both.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    with contextlib.suppress(DisconnectedError):
        DecoderProcess(Channel(socket.socket(fileno=connection), shared), limit_s).run()


if __name__ == "__main__":
    main()
