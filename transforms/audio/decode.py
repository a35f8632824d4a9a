"""The bytes of an audio file to a mono waveform at the file's own rate, through libsndfile."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from transforms.errors import ClipError, Reason

# What recorders and codecs make; a header outside it is damaged far more often than it is true.
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8

_BLOCK_FRAMES = 1 << 18
# A FLAC that was written to a pipe says "unknown", which libsndfile reports as the largest count.
_UNKNOWN_FRAMES = 1 << 62


class _Stream(soundfile.SoundFile):
    """Read from front to back: soundfile seeks after each read, which a FLAC without a length cannot."""

    def seekable(self) -> bool:
        return False


class _Nameless:
    """A file by its content alone: soundfile takes one that is called `.raw` at its word."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.readinto, self.tell = file.readinto, file.tell  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = 0) -> None:
        # A damaged header can ask for a place before the file; libsndfile sees that it did not get there.
        with contextlib.suppress(ValueError, OSError):
            self._file.seek(offset, whence)


def open_audio(file: BinaryIO) -> soundfile.SoundFile:
    """Opens an audio file of any format that libsndfile knows, found by its content.

    Args:
      file: seekable, open for reading in binary mode; read from its start, and the caller's to close.

    Raises:
      ClipError: the file is no audio, or has a sample rate outside 4 to 192 kHz, or more than 8 channels.
    """
    file.seek(0)
    if not file.read(1):
        raise ClipError(Reason.NOT_AUDIO, "the file is empty")
    file.seek(0)
    try:
        sound = _Stream(_Nameless(file))
    except soundfile.LibsndfileError as error:
        raise ClipError(Reason.NOT_AUDIO, _cause(error)) from error
    if not MIN_RATE_HZ <= sound.samplerate <= MAX_RATE_HZ:
        message = f"sample rate {sound.samplerate} Hz is not in {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        raise ClipError(Reason.UNSUPPORTED, message)
    if sound.channels > MAX_CHANNELS:
        message = f"{sound.channels} channels, more than {MAX_CHANNELS}"
        raise ClipError(Reason.UNSUPPORTED, message)
    return sound


def duration_s(file: BinaryIO) -> float:
    """Length of the audio in seconds, from the header, or by decoding it where the header has none.

    Args:
      file: as `open_audio` takes it.

    Raises:
      ClipError: as `open_audio`, or the audio had to be decoded and is damaged.
    """
    with open_audio(file) as sound:
        frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else sum(map(len, _blocks(sound)))
        return frames / sound.samplerate


def read_mono(
    sound: soundfile.SoundFile, start_s: float = 0.0, end_s: float | None = None
) -> NDArray[np.float64]:
    """Decodes from `start_s` to `end_s` (None: to the end) and takes the mean over channels.

    Integer samples are divided by their full scale (int16 by 32768), exactly; float samples stay
    as they are.

    Returns:
      float64[samples] at `sound.samplerate`; shorter than asked where the audio ends before.

    Raises:
      ClipError: the audio is damaged, ends before its header says, or has NaN or infinite samples.
    """
    start = round(start_s * sound.samplerate)
    stop = None if end_s is None else round(end_s * sound.samplerate)
    parts = []
    position = 0
    for block in _blocks(sound):
        begin, position = position, position + len(block)
        part = block[max(start - begin, 0) : None if stop is None else max(stop - begin, 0)]
        if not np.isfinite(part).all():
            raise ClipError(Reason.NOT_FINITE, "the audio has NaN or infinite samples")
        parts.append(part.mean(axis=1))
        if stop is not None and position >= stop:
            break
    return np.concatenate(parts) if parts else np.empty(0)


def _blocks(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float64]]:
    """Yields float64[frames, channels] up to the real end, whatever length the header states."""
    position = 0
    while True:
        try:
            block = sound.read(_BLOCK_FRAMES, dtype="float64", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.CORRUPT, f"{_cause(error)}, after frame {position}") from error
        if not len(block):
            break
        position += len(block)
        yield block
    # Only FLAC's header is a promise: an MP3's may be an estimate, other formats' follow the file.
    if sound.format == "FLAC" and position < sound.frames < _UNKNOWN_FRAMES:
        raise ClipError(Reason.CORRUPT, f"ends at frame {position} of {sound.frames}")


def _cause(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")
