"""Decode in a separate process, so that a file that crashes or hangs the decoder costs only its own clip.

That process also makes the examples. In this process almost nothing runs under the interpreter lock: a thread
that extracts a clip sends two requests and waits for arrays. The module `channel` shows the messages.

    this process                        decoder process (one per IsolatedDecoder)
    IsolatedDecoder --> Child  ======>  DecoderProcess --> InProcessAudio --> examples
        |                     Channel
        +-- if the child dies (ChildDiedError):
              it hangs, or this was its first file    -> ClipError CRASHED
              otherwise (an earlier file may have     -> the file is read again in a new child, and the
              damaged its memory, or it was killed)      arrays that were already returned are skipped
"""

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decoder import Audio
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.channel import Message
from transforms.audio.isolated.child import Child, ChildDiedError
from transforms.errors import ClipError, Reason

# A step is a block of 1.5 s of audio, or of 6 s in a container, and takes less than a second.
STEP_LIMIT_S = 30.0


class IsolatedDecoder:
    """A `Decoder` with bit-identical results whose process starts with the first file and serves all others.

    Only one thread at a time may use it. It can be pickled before its first file.

    Raises, in addition to the errors of `decode`:
      ClipError: CRASHED if the file makes the decoder crash or hang.
      RuntimeError: a bug, with its traceback from the process; or the process cannot be started.
      Exception: the error that the file raised when it was read.

    Args:
      limit_s: a decoder hangs if it returns nothing for so many seconds; reading the file does not count.
    """

    def __init__(self, limit_s: float = STEP_LIMIT_S):
        self._limit_s = limit_s
        self._child: Child | None = None
        self._current: Audio | None = None  # the open file

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[Audio]:
        self._close_current()
        audio = self._current = _IsolatedAudio(self, file, self._ask(Message.OPEN, file))
        try:
            yield audio
        finally:
            # A generator may keep this open until after the next file has been opened.
            if self._current is audio:
                self._close_current()

    def duration_s(self, file: BinaryIO) -> float:
        self._close_current()
        return self._ask(Message.DURATION, file)

    def close(self) -> None:
        """Stop the process; the next file starts another."""
        self._current = None
        if self._child is not None:
            self._child.stop()

    def _close_current(self) -> None:
        self._current = None
        if self._child is not None:
            self._child.close_file()

    def _ask(self, command: Message, file: BinaryIO) -> Any:
        while True:
            if self._child is not None:
                with contextlib.suppress(ChildDiedError):  # caused by the previous file
                    self._child.drop_pending()
            if self._child is None or self._child.is_stopped:
                self._child = Child(self._limit_s)
            try:
                return self._child.open(command, file)
            except ChildDiedError as death:
                _raise_unless_retried(self._child, death, "at the file's header")

    def _child_of(self, audio: "_IsolatedAudio") -> Child:
        if self._child is None or self._current is not audio:
            raise RuntimeError("the audio was closed before it was read to its end")
        return self._child


class _IsolatedAudio(Audio):
    """A file that is open in the child."""

    def __init__(self, decoder: IsolatedDecoder, file: BinaryIO, rate_hz: int):
        super().__init__(rate_hz)
        self._decoder = decoder
        self._file = file

    def examples(self, extraction: Extraction, start: int = 0, stop: int | None = None) -> Iterator[NDArray]:
        if extraction.needs_compiler(self.rate_hz):  # compile once here instead of in each child
            return super().examples(extraction, start, stop)
        return self._arrays(Message.EXAMPLES, start, stop, extraction.to_json())

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        return self._arrays(Message.BLOCKS, start, stop)

    def has_sample_at(self, position: int) -> bool:
        while True:
            child = self._decoder._child_of(self)
            try:
                return child.ask(Message.HAS_SAMPLE, position)
            except ChildDiedError as death:
                self._reopen(child, death)

    def _arrays(self, command: Message, *request: Any) -> Iterator[NDArray]:
        done = 0  # samples or examples that were yielded
        while True:
            to_skip = done  # in a second attempt
            child = self._decoder._child_of(self)
            arrays = child.arrays(command, *request)
            try:
                while (array := next(arrays, None)) is not None:
                    new = array[to_skip:]
                    to_skip -= len(array) - len(new)
                    done += len(new)
                    if len(new):
                        yield new
                    self._decoder._child_of(self)
                self.num_samples = child.num_samples
                return
            except ChildDiedError as death:
                self._reopen(child, death)

    def _reopen(self, child: Child, death: ChildDiedError) -> None:
        _raise_unless_retried(child, death, f"after {death.position / self.rate_hz:.2f} s")
        self._decoder._ask(Message.OPEN, self._file)


def _raise_unless_retried(child: Child, death: ChildDiedError, when: str) -> None:
    """Raise ClipError if the file hangs the child, or if it is the child's first file.

    Otherwise an earlier file may have damaged the child's memory, or another process may have killed it. Then
    the caller tries the file again in a new child.
    """
    if child.num_files == 1 or death.is_hang:
        raise ClipError(Reason.CRASHED, f"{death}, {when}") from death
