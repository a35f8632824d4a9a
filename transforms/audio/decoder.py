"""What opens audio files and reads examples from them, and how that is done in this process."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.audio import decode
from transforms.audio.decode import AudioStream, Cutter
from transforms.audio.extraction import Extraction


class Audio(Protocol):
    """The mean of a file's channels, which is read once, from front to back.

    Spans of samples are read one after the other; what lies between them is decoded and dropped, since no
    format but the simplest can seek to the sample.

    Attributes:
      rate_hz, channels: as the file has them.
      num_frames: its length by the header; None where only decoding tells.
      num_samples: of the span that was read last, where that was read to its end.
    """

    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def num_frames(self) -> int | None: ...
    @property
    def num_samples(self) -> int: ...

    def examples(self, extraction: Extraction, start: int = 0, stop: int | None = None) -> Iterator[NDArray]:
        """Yields what `extraction.examples` makes of the samples from `start` to `stop`.

        Raises:
          ClipError: as that does; the audio is damaged, or has NaN or infinite samples.
        """

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        """Yields those samples themselves, [samples] each, as `decode.mono_blocks` gives them.

        Raises:
          ClipError: the audio is damaged, or has NaN or infinite samples.
        """

    def goes_on(self, position: int) -> bool:
        """Whether there is a sample at a position, which is not before the last span's end.

        Raises:
          ClipError: the audio is damaged.
        """


class Decoder(Protocol):
    """Opens one audio file at a time; takes files, and raises ClipError, as `decode.open_audio` does."""

    def open(self, file: BinaryIO) -> contextlib.AbstractContextManager[Audio]:
        """Opens a file for one reading; leaving it before its end is fine."""

    def duration_s(self, file: BinaryIO) -> float:
        """Length of the audio in seconds, as `decode.duration_s`."""


class PlainDecoder:
    """Decodes in this process."""

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[Audio]:
        with decode.open_audio(file) as stream:
            yield PlainAudio(stream, decode.mono_blocks(stream))

    def duration_s(self, file: BinaryIO) -> float:
        return decode.duration_s(file)


class PlainAudio:
    """An opened stream as `Audio`.

    Args:
      stream: what is read.
      blocks: all of it, as `decode.mono_blocks` gives.
    """

    def __init__(self, stream: AudioStream, blocks: Iterator[NDArray[np.floating]]):
        self.rate_hz = stream.rate_hz
        self.channels = stream.channels
        self.num_frames = stream.num_frames
        self.num_samples = 0
        self._cutter = Cutter(blocks)
        self._position = 0

    def examples(self, extraction: Extraction, start: int = 0, stop: int | None = None) -> Iterator[NDArray]:
        return extraction.examples(self.blocks(start, stop), self.rate_hz)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        self._skip_to(start)
        self.num_samples = 0
        for block in self._cutter.take(None if stop is None else stop - start):
            self._position += len(block)
            self.num_samples += len(block)
            yield block

    def goes_on(self, position: int) -> bool:
        self._skip_to(position)
        return self._cutter.more()

    def _skip_to(self, position: int) -> None:
        self._cutter.skip(position - self._position)
        self._position = position
