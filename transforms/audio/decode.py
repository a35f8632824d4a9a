"""Decode an audio file to blocks of a mono waveform at the file's own sample rate."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from transforms.audio.containers import ContainerStream
from transforms.audio.formats import HEAD_BYTES, LIBSNDFILE, find_format
from transforms.audio.guard import ErrorKeepingFile, clip_errors
from transforms.audio.parsers.mpeg_frames import find_mpeg_frames
from transforms.audio.parsers.tags import end_without_tags, skip_tags
from transforms.audio.soundfile_stream import SoundFileStream
from transforms.errors import ClipError, Reason

# Recorders and codecs use these rates; a header with another one is usually damaged.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8

# libsndfile's messages about bytes that it does not recognise; they carry no information.
_GENERIC_ERRORS = (
    "Format not recognised",
    "File does not exist",
    "Unspecified internal error",
    "System error",
)
_PAIRWISE_CHANNELS = 8
_INT16_FULL_SCALE = 1 << 15


class AudioStream(Protocol):
    """An audio stream, which can be read once from front to back.

    Attributes:
      rate_hz, channels: sample rate and number of channels of the file.
      num_frames: samples per channel as the header states; None if they are known only after decoding.
    """

    rate_hz: int
    channels: int
    num_frames: int | None

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        """Yield int16[frames, channels] for 16-bit audio, otherwise float64 with full scale 1.0.

        Raises:
          ClipError: the audio is damaged, or ends before the stated length.
        """

    def close(self) -> None:
        """Free the decoder; the file stays open."""


def open_audio(file: BinaryIO) -> contextlib.closing[AudioStream]:
    """Open an audio file to be read once. Its content determines the format, and its name does not matter.

    Args:
      file: seekable, open in binary mode; read from its start. The caller closes it.

    Returns:
      The stream, in a context manager that closes it.

    Raises:
      ClipError: the file is not audio, or it has a sample rate outside 4 to 192 kHz or more than 8 channels.
        Here and in `blocks`, any exception of a decoder becomes a ClipError that names it.
      MemoryError, ImportError: the worker itself fails.
      Exception: here and in `blocks`, the error that the file raised when it was read.
    """
    source = ErrorKeepingFile(file)
    with clip_errors(source, Reason.NOT_AUDIO):
        stream = _GuardedStream(_open(source), source)
    message = None
    if not MIN_RATE_HZ <= stream.rate_hz <= MAX_RATE_HZ:
        message = f"sample rate {stream.rate_hz} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
    elif not 1 <= stream.channels <= MAX_CHANNELS:
        message = f"{stream.channels} channels, but only 1 to {MAX_CHANNELS} are supported"
    if message:
        stream.close()
        raise ClipError(Reason.UNSUPPORTED, message)
    return contextlib.closing(stream)


def _open(source: ErrorKeepingFile) -> AudioStream:
    """Open the file with the first decoder that accepts it; libsndfile also tries unknown formats."""
    file = cast(BinaryIO, source)
    if not source.size:
        raise ClipError(Reason.NOT_AUDIO, "the file is empty")
    start = skip_tags(file)
    file.seek(start)
    head = file.read(HEAD_BYTES)
    fmt = find_format(head)
    refusals = []
    for decoder in (LIBSNDFILE,) if fmt is None else fmt.decoders:
        file.seek(0)
        try:
            if fmt is None or decoder == LIBSNDFILE:
                return SoundFileStream(file)
            end = end_without_tags(file) if fmt.is_tagged else source.size
            return ContainerStream(cast(BinaryIO, source.part(start, max(start, end))), fmt)
        except ClipError as error:
            if error.reason is not Reason.NOT_AUDIO:
                raise
            if not str(error).startswith(_GENERIC_ERRORS):
                refusals.append(f"{decoder}: {error}")
    if fmt is None:
        # The audio may follow other bytes, such as the remains of a tag that was cut off.
        begin = find_mpeg_frames(file)
        if begin is not None:
            return SoundFileStream(cast(BinaryIO, source.part(begin, source.size)))
        raise ClipError(Reason.NOT_AUDIO, f"no known audio format; the file begins with {_show(head)}")
    causes = "; ".join(refusals) or f"it begins with {_show(head)}"
    raise ClipError(Reason.NOT_AUDIO, f"begins as {fmt.name} and cannot be opened ({causes})")


def _show(head: bytes) -> str:
    """Format the first bytes as hex and as text."""
    first = head[:8]
    return f"{first.hex(' ')} ({first.decode('latin-1')!a})"


class _GuardedStream:
    """Turns exceptions of the decoder into ClipErrors, and raises errors of the file unchanged."""

    def __init__(self, stream: AudioStream, file: ErrorKeepingFile):
        self.rate_hz, self.channels, self.num_frames = stream.rate_hz, stream.channels, stream.num_frames
        self._stream = stream
        self._file = file

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        with clip_errors(self._file, Reason.CORRUPT):
            blocks = iter(self._stream.blocks())
        while True:
            with clip_errors(self._file, Reason.CORRUPT):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def close(self) -> None:
        # All audio is decoded by now, so a failure to close the decoder does not matter.
        with contextlib.suppress(Exception):
            self._stream.close()


def duration_s(file: BinaryIO) -> float:
    """Return the length of the audio in seconds, from the header or, if it has none, by decoding.

    Raises:
      ClipError: as for `open_audio`, or the audio had to be decoded and is damaged.
    """
    with open_audio(file) as stream:
        frames = stream.num_frames
        if frames is None:
            frames = sum(map(len, stream.blocks()))
        return frames / stream.rate_hz


def mono_blocks(stream: AudioStream) -> Iterator[NDArray[np.floating]]:
    """Decode a stream and yield the mean over channels of its blocks, as `mix_to_mono` returns it.

    Raises:
      ClipError: the audio is damaged, or ends before the stated length.
    """
    return map(mix_to_mono, stream.blocks())


def mix_to_mono(block: NDArray[np.int16] | NDArray[np.float64]) -> NDArray[np.floating]:
    """Return the mean over channels, bit-identical to that of the reference.

    Args:
      block: [frames, channels], float64, or int16 with full scale 32768.

    Returns:
      [frames], full scale 1.0: float32 for int16 in 1, 2, 4 or 8 channels, where it is exact, else float64.
    """
    channels = block.shape[1]
    if block.dtype == np.int16:
        full_scale = _INT16_FULL_SCALE * channels
        if channels & (channels - 1) == 0:  # a power of two: the sum and the product are exact in float32
            # Not a matrix product: each decoder process would start BLAS threads for it.
            single = block.astype(np.float32)
            summed = single[:, 0]
            for channel in range(1, channels):
                summed = summed + single[:, channel]
            return summed * np.float32(1 / full_scale)
        total = block[:, 0].astype(np.int32)
        for channel in range(1, channels):
            np.add(total, block[:, channel], out=total)
        return np.divide(total, full_scale)
    # NumPy sums along rows ten times slower than it adds columns. Below eight channels it adds from left to
    # right, so that columns give the same bits; from eight on it adds in pairs.
    if channels >= _PAIRWISE_CHANNELS:
        return block.mean(axis=1)
    mono = block[:, 0] + 0.0  # the mean of a single -0.0 is 0.0
    for channel in range(1, channels):
        mono += block[:, channel]
    mono /= channels
    return mono


class SpanReader:
    """Takes consecutive spans out of a waveform that arrives in blocks, [samples] each."""

    def __init__(self, blocks: Iterable[NDArray[np.floating]]):
        self._blocks = iter(blocks)
        self._kept: NDArray[np.floating] = np.empty(0)

    def take(self, num_samples: int | None = None) -> Iterator[NDArray[np.floating]]:
        """Yield the next `num_samples` (None: all that are left), fewer if the waveform ends.

        Raises:
          ClipError: a sample is NaN or infinite.
        """
        for part in self._next(num_samples):
            if not np.isfinite(part).all():
                raise ClipError(Reason.NOT_FINITE, "the audio has NaN or infinite samples")
            yield part

    def skip(self, num_samples: int) -> None:
        """Skip the next `num_samples` without checking them."""
        for _ in self._next(num_samples):
            pass

    def _next(self, num_samples: int | None) -> Iterator[NDArray[np.floating]]:
        while (num_samples is None or num_samples > 0) and self.has_more():
            part = self._kept[:num_samples]
            self._kept = self._kept[len(part) :]
            if num_samples is not None:
                num_samples -= len(part)
            yield part

    def has_more(self) -> bool:
        """Return whether any samples are left."""
        while not len(self._kept):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._kept = block
        return True
