"""Decoding in a process of its own: a file that crashes the decoder, or hangs it, costs its clip alone.

That process makes the examples too. Here is done what takes next to no time under the interpreter's lock: a
thread that extracts a clip sends two requests and waits for arrays.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decoder import Audio
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.channel import Message
from transforms.audio.isolated.child import Child, DeathError
from transforms.errors import ClipError, Reason

# A step is a block of 1.5 s of audio, or 6 s of a container's; none takes a second.
STEP_LIMIT_S = 30.0


class IsolatedDecoder:
    """A `Decoder` in a process that is started for the first file and serves the next ones, to the same bits.

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
        self._child: Child | None = None
        self._current: Audio | None = None  # what is open

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[Audio]:
        self._leave()
        audio = self._current = _IsolatedAudio(self, file, **self._opened(file))
        try:
            yield audio
        finally:
            # A generator that holds this may be closed late, when another stream is open.
            if self._current is audio:
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

    def _opened(self, file: BinaryIO) -> dict[str, Any]:
        """The file's header; after it the child has the file open."""
        return self._ask(Message.OPEN, file)

    def _ask(self, command: Message, file: BinaryIO) -> Any:
        while True:
            if self._child is not None:
                with contextlib.suppress(DeathError):  # over the file before
                    self._child.settle()
            if self._child is None or self._child.is_stopped:
                self._child = Child(self._limit_s)
            try:
                return self._child.open(command, file)
            except DeathError as death:
                _judge(self._child, death, "at the file's header")

    def _child_of(self, audio: "_IsolatedAudio") -> "Child":
        if self._child is None or self._current is not audio:
            raise RuntimeError("the audio was left before it was read")
        return self._child


class _IsolatedAudio:
    """A file that the child has open, as `Audio`."""

    def __init__(
        self, decoder: IsolatedDecoder, file: BinaryIO, rate_hz: int, channels: int, num_frames: int | None
    ):
        self.rate_hz, self.channels, self.num_frames = rate_hz, channels, num_frames
        self.num_samples = 0
        self._decoder = decoder
        self._file = file

    def examples(self, extraction: Extraction, start: int = 0, stop: int | None = None) -> Iterator[NDArray]:
        if extraction.needs_compiler(self.rate_hz):  # which this process needs once for all children
            return extraction.examples(self.blocks(start, stop), self.rate_hz)
        return self._arrays(Message.EXAMPLES, start, stop, extraction.to_json())

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        return self._arrays(Message.BLOCKS, start, stop)

    def goes_on(self, position: int) -> bool:
        while True:
            child = self._decoder._child_of(self)
            try:
                return child.ask(Message.GOES_ON, position)
            except DeathError as death:
                self._open_again(child, death)

    def _arrays(self, command: Message, *request: Any) -> Iterator[NDArray]:
        done = 0  # samples or examples
        while True:
            known = done  # of a second attempt
            child = self._decoder._child_of(self)
            arrays = child.arrays(command, *request)
            try:
                while (array := next(arrays, None)) is not None:
                    new = array[known:]
                    known -= len(array) - len(new)
                    done += len(new)
                    if len(new):
                        yield new
                    self._decoder._child_of(self)
                self.num_samples = child.num_samples
                return
            except DeathError as death:
                self._open_again(child, death)

    def _open_again(self, child: "Child", death: "DeathError") -> None:
        _judge(child, death, f"after {death.position / self.rate_hz:.2f} s")
        self._decoder._opened(self._file)


def _judge(child: "Child", death: "DeathError", when: str) -> None:
    """Raises ClipError, unless an earlier file may have damaged the memory, or another process killed it:
    then the file has a second chance, in a process that has seen no other."""
    if child.num_files == 1 or death.is_hang:
        raise ClipError(Reason.CRASHED, f"{death}, {when}") from death
