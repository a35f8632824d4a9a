"""The bytes of an audio file to a mono waveform at the file's own rate, in blocks."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from transforms.audio.containers import ContainerStream
from transforms.audio.formats import HEAD_BYTES, LIBSNDFILE, Format, find_format
from transforms.audio.guard import WatchedFile, judged
from transforms.audio.parsers.mpeg_frames import find_mpeg_frames
from transforms.audio.parsers.tags import before_tags, skip_tags
from transforms.audio.soundfile_stream import SoundFileStream
from transforms.errors import ClipError, Reason

# What recorders and codecs make; a header outside it is damaged far more often than it is true.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8

# What libsndfile says, where it does not know better, about bytes that are no audio file.
_SAYS_NOTHING = ("Format not recognised", "File does not exist", "Unspecified internal error", "System error")
_PAIRWISE_CHANNELS = 8
_INT16_FULL_SCALE = 1 << 15


class AudioStream(Protocol):
    """Audio that is read once, from front to back.

    Attributes:
      rate_hz, channels: as the file has them.
      num_frames: its length by the header; None where only decoding tells.
    """

    rate_hz: int
    channels: int
    num_frames: int | None

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        """Yields int16[frames, channels] of 16-bit audio, or float64 of any other, full scale 1.0.

        Raises:
          ClipError: the audio is damaged, or ends before its header says.
        """

    def close(self) -> None:
        """Frees the decoder; the file stays open."""


def open_audio(file: BinaryIO) -> contextlib.closing[AudioStream]:
    """Opens an audio file for one reading; its format is found by its content, whatever its name.

    Args:
      file: seekable, open in binary mode; read from its start, and the caller's to close.

    Returns:
      The stream, in a context manager that closes it.

    Raises:
      ClipError: the file is no audio, or has a sample rate outside 4 to 192 kHz, or more than 8 channels.
      MemoryError, ImportError: the worker's own. Any other exception of a decoder is a ClipError that names
        it, here and in `blocks`.
      What the file raises when it is read, here and in `blocks`.
    """
    watched = WatchedFile(file)
    with judged(watched, Reason.NOT_AUDIO):
        stream = _JudgedStream(_open(watched), watched)
    message = None
    if not MIN_RATE_HZ <= stream.rate_hz <= MAX_RATE_HZ:
        message = f"sample rate {stream.rate_hz} Hz is not in {MIN_RATE_HZ} to {MAX_RATE_HZ}"
    elif not 1 <= stream.channels <= MAX_CHANNELS:
        message = f"{stream.channels} channels, not 1 to {MAX_CHANNELS}"
    if message:
        stream.close()
        raise ClipError(Reason.UNSUPPORTED, message)
    return contextlib.closing(stream)


def _open(watched: WatchedFile) -> AudioStream:
    """The stream of the first decoder that knows the file; libsndfile is asked about unknown formats too."""
    file = cast(BinaryIO, watched)
    if not watched.size:
        raise ClipError(Reason.NOT_AUDIO, "the file is empty")
    start = skip_tags(file)
    file.seek(start)
    head = file.read(HEAD_BYTES)
    form = find_format(head)
    refusals = []
    for decoder in (LIBSNDFILE,) if form is None else form.decoders:
        file.seek(0)
        try:
            if form is None or decoder == LIBSNDFILE:
                return SoundFileStream(file)
            return ContainerStream(cast(BinaryIO, _audio_part(watched, start, form)), form)
        except ClipError as error:
            if error.reason is not Reason.NOT_AUDIO:
                raise
            if not str(error).startswith(_SAYS_NOTHING):
                refusals.append(f"{decoder}: {error}")
    if form is None:
        # Behind bytes that are neither audio nor tag, as the remains of one that was cut off.
        begin = find_mpeg_frames(file)
        if begin is not None:
            return SoundFileStream(cast(BinaryIO, watched.part(begin, watched.size)))
        raise ClipError(Reason.NOT_AUDIO, f"no known audio format; the file begins with {_show(head)}")
    causes = "; ".join(refusals) or f"it begins with {_show(head)}"
    raise ClipError(Reason.NOT_AUDIO, f"begins as {form.name} and cannot be opened ({causes})")


def _audio_part(file: WatchedFile, start: int, form: Format) -> WatchedFile:
    """The file without the tags before its first byte of audio, at `start`, and behind its last."""
    end = before_tags(cast(BinaryIO, file)) if form.is_tagged else file.size
    return file.part(start, max(start, end))


def _show(head: bytes) -> str:
    """The first bytes, as hex and as far as they are text."""
    first = head[:8]
    return f"{first.hex(' ')} ({first.decode('latin-1')!a})"


class _JudgedStream:
    """A stream whose decoder's exceptions are the clip's, and whose file's errors are the file's."""

    def __init__(self, stream: AudioStream, file: WatchedFile):
        self.rate_hz, self.channels, self.num_frames = stream.rate_hz, stream.channels, stream.num_frames
        self._stream = stream
        self._file = file

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        with judged(self._file, Reason.CORRUPT):
            blocks = iter(self._stream.blocks())
        while True:
            with judged(self._file, Reason.CORRUPT):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def close(self) -> None:
        # What was decoded is known by now; a decoder that cannot be closed changes nothing about it.
        with contextlib.suppress(Exception):
            self._stream.close()


def duration_s(file: BinaryIO) -> float:
    """Length of the audio in seconds, from the header, or by decoding it where the header has none.

    Args:
      file: as `open_audio` takes it.

    Raises:
      ClipError: as `open_audio`, or the audio had to be decoded and is damaged.
    """
    with open_audio(file) as stream:
        frames = stream.num_frames
        if frames is None:
            frames = sum(map(len, stream.blocks()))
        return frames / stream.rate_hz


def mono_blocks(stream: AudioStream) -> Iterator[NDArray[np.floating]]:
    """Decodes all of a stream and takes the mean over channels.

    Yields:
      [samples] at the stream's rate, full scale 1.0; float32 where that is exact, else float64.

    Raises:
      ClipError: the audio is damaged, or ends before its header says.
    """
    for block in stream.blocks():
        yield mix_to_mono(block)


def mix_to_mono(block: NDArray[np.int16] | NDArray[np.float64]) -> NDArray[np.floating]:
    """The mean over channels, [frames, channels] -> [frames], as the reference takes it, to the bit.

    Args:
      block: int16, which stands for itself divided by 32768, or float64.

    Returns:
      float64; float32 of int16 in 1, 2, 4 or 8 channels, whose mean it holds exactly.
    """
    channels = block.shape[1]
    if block.dtype == np.int16:
        full_scale = _INT16_FULL_SCALE * channels
        if channels & (channels - 1) == 0:  # sums of so few are exact, and products with a power of two
            # No matrix product: decoders are processes, and BLAS would start its threads in each.
            single = block.astype(np.float32)
            summed = single[:, 0]
            for channel in range(1, channels):
                summed = summed + single[:, channel]
            return summed * np.float32(1 / full_scale)
        total = block[:, 0].astype(np.int32)
        for channel in range(1, channels):
            np.add(total, block[:, channel], out=total)
        return np.divide(total, full_scale)
    # NumPy adds rows one by one, ten times slower than columns. Below eight channels it adds from left to
    # right, so that the order is the same; from eight on it adds pairs.
    if channels >= _PAIRWISE_CHANNELS:
        return block.mean(axis=1)
    mono = block[:, 0] + 0.0  # the mean of a single -0.0 is 0.0
    for channel in range(1, channels):
        mono += block[:, channel]
    mono /= channels
    return mono


class Cutter:
    """Takes consecutive stretches out of a waveform that comes in blocks.

    Args:
      blocks: [samples] each.
    """

    def __init__(self, blocks: Iterable[NDArray[np.floating]]):
        self._blocks = iter(blocks)
        self._kept: NDArray[np.floating] = np.empty(0)

    def take(self, num_samples: int | None = None) -> Iterator[NDArray[np.floating]]:
        """Yields the next `num_samples` (None: all that are left), fewer where the waveform ends.

        Raises:
          ClipError: some of them are NaN or infinite.
        """
        for part in self._next(num_samples):
            if not np.isfinite(part).all():
                raise ClipError(Reason.NOT_FINITE, "the audio has NaN or infinite samples")
            yield part

    def skip(self, num_samples: int) -> None:
        """Passes over the next `num_samples`, whatever they are."""
        for _ in self._next(num_samples):
            pass

    def _next(self, num_samples: int | None) -> Iterator[NDArray[np.floating]]:
        while (num_samples is None or num_samples > 0) and self.more():
            part = self._kept[:num_samples]
            self._kept = self._kept[len(part) :]
            if num_samples is not None:
                num_samples -= len(part)
            yield part

    def more(self) -> bool:
        """Whether there are samples left."""
        while not len(self._kept):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._kept = block
        return True
