"""The interfaces for opening audio files and reading examples, and their implementation in this process."""

import abc
import contextlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.audio import decode
from transforms.audio.decode import SpanReader
from transforms.audio.extraction import Extraction


class Audio(abc.ABC):
    """The mean of a file's channels, which can be read once, from front to back.

    Callers read spans of samples one after the other. The samples between spans are decoded and dropped,
    because only the simplest formats can seek to the exact sample.

    Attributes:
      rate_hz: sample rate of the file.
      num_samples: length of the last span that was read to its end.
    """

    def __init__(self, rate_hz: int):
        self.rate_hz = rate_hz
        self.num_samples = 0

    def examples(self, extraction: Extraction, start: int = 0, stop: int | None = None) -> Iterator[NDArray]:
        """Yield the examples that `extraction.examples` makes of the samples from `start` to `stop`.

        Raises:
          ClipError: as for `extraction.examples`; the audio is damaged, or has NaN or infinite samples.
        """
        return extraction.examples(self.blocks(start, stop), self.rate_hz)

    @abc.abstractmethod
    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        """Yield the samples themselves, [samples] each, as from `decode.mono_blocks`.

        Raises:
          ClipError: the audio is damaged, or has NaN or infinite samples.
        """

    @abc.abstractmethod
    def has_sample_at(self, position: int) -> bool:
        """Return whether there is a sample at a position, which must not be before the last span's end.

        Raises:
          ClipError: the audio is damaged.
        """


class Decoder(Protocol):
    """Opens one audio file at a time, with the arguments and the ClipErrors of `decode.open_audio`."""

    def open(self, file: BinaryIO) -> contextlib.AbstractContextManager[Audio]:
        """Open a file to be read once; it may be closed before its end."""

    def duration_s(self, file: BinaryIO) -> float:
        """Return the length of the audio in seconds, as `decode.duration_s` does."""


class InProcessDecoder:
    """Decodes in this process."""

    @contextlib.contextmanager
    def open(self, file: BinaryIO) -> Iterator[Audio]:
        with decode.open_audio(file) as stream:
            yield InProcessAudio(stream.rate_hz, decode.mono_blocks(stream))

    def duration_s(self, file: BinaryIO) -> float:
        return decode.duration_s(file)


class InProcessAudio(Audio):
    """Audio of all blocks of an opened stream, as from `decode.mono_blocks`."""

    def __init__(self, rate_hz: int, blocks: Iterator[NDArray[np.floating]]):
        super().__init__(rate_hz)
        self._reader = SpanReader(blocks)
        self._position = 0

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.floating]]:
        self._skip_to(start)
        self.num_samples = 0
        for block in self._reader.take(None if stop is None else stop - start):
            self._position += len(block)
            self.num_samples += len(block)
            yield block

    def has_sample_at(self, position: int) -> bool:
        self._skip_to(position)
        return self._reader.has_more()

    def _skip_to(self, position: int) -> None:
        self._reader.skip(position - self._position)
        self._position = position
