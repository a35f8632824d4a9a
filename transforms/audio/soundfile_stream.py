"""Audio that libsndfile decodes to blocks of samples."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from transforms.audio.parsers import wav_chunks
from transforms.audio.parsers.flac_header import flac_link
from transforms.audio.parsers.flat_headers import AU_MAGICS, NIST_MAGIC, au_link, nist_link
from transforms.audio.parsers.iff_chunks import caf_link, iff_link
from transforms.audio.parsers.links import Link
from transforms.audio.parsers.mpeg_frames import mpeg_links
from transforms.audio.parsers.ogg_pages import ogg_links
from transforms.audio.parsers.spliced_file import SplicedFile
from transforms.audio.parsers.tags import skip_tags
from transforms.errors import ClipError, Reason

_BLOCK_FRAMES = 1 << 16
# A FLAC that was written to a pipe says "unknown", which libsndfile reports as the largest count.
_UNKNOWN_FRAMES = 1 << 62
# First bytes -> what finds the samples.
_HEADERS: list[tuple[bytes | tuple[bytes, ...], Callable[[BinaryIO], Link]]] = [
    (wav_chunks.W64_MAGIC, wav_chunks.w64_link),
    (b"FORM", iff_link),
    (b"caff", caf_link),
    (AU_MAGICS, au_link),
    (NIST_MAGIC, nist_link),
]
# What a file whose length is hidden claims.
_HIDDEN_BYTES = 1 << 62


class SoundFileStream:
    """What libsndfile decodes, after a check of what the file promises.

    Attributes:
      rate_hz, channels: as the file has them; 48 kHz for Opus.
      num_frames: samples per channel, which decoding gives or it fails; None where only decoding tells.
    """

    def __init__(self, file: BinaryIO):
        """Reads the file's structure, all of it in formats that have no index (Ogg, MPEG), and opens it.

        Raises:
          ClipError: NOT_AUDIO where libsndfile does not know the file; CORRUPT where it is damaged.
        """
        self._file = file
        self._links = find_links(file)
        self._sound = self._open(self._links[0])
        self.rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.num_frames = self._promised(self._links[0]) if len(self._links) == 1 else None

    def close(self) -> None:
        self._sound.close()

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        """Yields int16[frames, channels] of 16-bit audio, or float64 of any other; can be read once.

        Raises:
          ClipError: CORRUPT where the audio is damaged, ends before the file promises, or changes its rate or
            channels.
        """
        yield from self._blocks(self._links[0])
        for link in self._links[1:]:
            self._sound.close()
            self._sound = self._open(link)
            now = self._sound.samplerate, self._sound.channels
            if now != (self.rate_hz, self.channels):
                raise ClipError(Reason.CORRUPT, "changes to {} Hz and {} channels".format(*now))
            yield from self._blocks(link)

    def _open(self, link: Link) -> "_ForwardSoundFile":
        source: Any = _Nameless(self._file)
        if link.pieces is not None:
            stated_bytes = _HIDDEN_BYTES if link.is_length_hidden else None
            source = SplicedFile(self._file, link.pieces, stated_bytes)
        self._file.seek(0)
        try:
            return _ForwardSoundFile(source)
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.NOT_AUDIO, _cause(error)) from error

    def _promised(self, link: Link) -> int | None:
        if link.num_frames is not None:
            return link.num_frames
        # Of MP3 in a WAV libsndfile estimates the number from the bytes.
        is_estimated = self._sound.format.startswith("WAV") and self._sound.subtype.startswith("MPEG")
        frames = self._sound.frames
        return None if is_estimated or link.is_length_hidden or frames >= _UNKNOWN_FRAMES else frames

    def _blocks(self, link: Link) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        promised = self._promised(link)
        position = 0
        while promised is None or position < promised:
            left = _BLOCK_FRAMES if promised is None else promised - position
            block = self._read(min(left, _BLOCK_FRAMES), position)
            if not len(block):
                break
            position += len(block)
            yield block
        if position < (promised or 0):
            raise ClipError(Reason.CORRUPT, f"ends at frame {position} of {promised}")
        if link.is_end_checked and self._goes_on(position):
            raise ClipError(Reason.CORRUPT, f"goes on after the {promised} frames that its header states")

    def _read(self, num_frames: int, position: int) -> NDArray[np.int16] | NDArray[np.float64]:
        # A quarter of the memory, and no conversion.
        dtype = "int16" if self._sound.subtype == "PCM_16" else "float64"
        try:
            return self._sound.read(num_frames, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.CORRUPT, f"{_cause(error)}, after frame {position}") from error

    def _goes_on(self, position: int) -> bool:
        try:
            return len(self._read(1, position)) > 0
        except ClipError:  # what follows is no audio
            return True


def find_links(file: BinaryIO) -> list[Link]:
    """What of a file to decode, by its first bytes behind any tags; never empty.

    Raises:
      ClipError: as the checks of each format do.
    """
    begin = skip_tags(file)
    file.seek(begin)
    head = file.read(4)
    if head == b"OggS" and begin == 0:
        return ogg_links(file)
    if head == b"fLaC":
        return [flac_link(file, begin)]
    if begin == 0:
        file.seek(0)
        head = file.read(16)
        if head.startswith(wav_chunks.FORMS):
            return wav_chunks.wav_links(file)
        for magics, find_link in _HEADERS:
            if head.startswith(magics):
                return [find_link(file)]
    file.seek(0)
    # Tags may be followed by padding.
    if begin or head.startswith(b"\xff"):
        return mpeg_links(file) or [Link()]
    return [Link()]


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
