"""Audio that libsndfile decodes to blocks of samples."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from transforms.errors import ClipError, Reason

_BLOCK_FRAMES = 1 << 16
# A FLAC that was written to a pipe says "unknown", which libsndfile reports as the largest count.
_UNKNOWN_FRAMES = 1 << 62


class SoundFileStream:
    """What libsndfile decodes."""

    def __init__(self, file: BinaryIO):
        try:
            self._sound = _ForwardSoundFile(_Nameless(file))
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.NOT_AUDIO, _cause(error)) from error
        self.rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        frames = self._sound.frames
        self.num_frames: int | None = frames if frames < _UNKNOWN_FRAMES else None

    def close(self) -> None:
        self._sound.close()

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        position = 0
        # A quarter of the memory, and no conversion.
        dtype = "int16" if self._sound.subtype == "PCM_16" else "float64"
        while True:
            try:
                block = self._sound.read(_BLOCK_FRAMES, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError as error:
                raise ClipError(Reason.CORRUPT, f"{_cause(error)}, after frame {position}") from error
            if not len(block):
                break
            position += len(block)
            yield block
        # Only FLAC's header is a promise: an MP3's may be an estimate, other formats' follow the file.
        if self._sound.format == "FLAC" and position < (self.num_frames or 0):
            raise ClipError(Reason.CORRUPT, f"ends at frame {position} of {self.num_frames}")


class _ForwardSoundFile(soundfile.SoundFile):
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


def _cause(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")
