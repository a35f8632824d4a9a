"""Decode audio with libsndfile to blocks of samples."""

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from transforms.audio.parsers import wav_chunks
from transforms.audio.parsers.flat_headers import AU_MAGICS, NIST_MAGIC, au_link, flac_link, nist_link
from transforms.audio.parsers.iff_chunks import caf_link, iff_link
from transforms.audio.parsers.mpeg_frames import mpeg_links
from transforms.audio.parsers.ogg_pages import ogg_links
from transforms.audio.parsers.spliced_file import ByteRange, Link, SplicedFile
from transforms.audio.parsers.tags import skip_tags
from transforms.errors import ClipError, Reason
from transforms.printable import counted

_BLOCK_FRAMES = 1 << 16
# A FLAC that was written to a pipe has an unknown length, which libsndfile reports as the largest count.
_UNKNOWN_FRAMES = 1 << 62
# First bytes -> function that finds the samples.
_HEADERS: list[tuple[bytes | tuple[bytes, ...], Callable[[BinaryIO], Link]]] = [
    (wav_chunks.W64_MAGIC, wav_chunks.w64_link),
    (b"FORM", iff_link),
    (b"caff", caf_link),
    (AU_MAGICS, au_link),
    (NIST_MAGIC, nist_link),
]
# The length that a file with a hidden length reports.
_HIDDEN_BYTES = 1 << 62


class SoundFileStream:
    """An `AudioStream` of libsndfile, after a check of the length that the file states; Opus has 48 kHz."""

    def __init__(self, file: BinaryIO):
        """Check the file's structure and open it. Formats without an index (Ogg, MPEG) are read completely.

        Raises:
          ClipError: NOT_AUDIO if libsndfile does not know the file; CORRUPT if it is damaged.
        """
        self._file = file
        self._links = find_links(file)
        self._sound = self._open(self._links[0])
        self.rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        self.num_frames = self._stated_frames(self._links[0]) if len(self._links) == 1 else None

    def close(self) -> None:
        self._sound.close()

    def blocks(self) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        """Yield int16[frames, channels] for 16-bit audio, otherwise float64; can be read once.

        Raises:
          ClipError: CORRUPT if the audio is damaged, ends before the stated length, or changes its rate or
            channels.
        """
        yield from self._blocks(self._links[0])
        for link in self._links[1:]:
            self._sound.close()
            self._sound = self._open(link)
            now = self._sound.samplerate, self._sound.channels
            if now != (self.rate_hz, self.channels):
                raise ClipError(Reason.CORRUPT, f"changes to {now[0]} Hz and {counted(now[1], 'channel')}")
            yield from self._blocks(link)

    def _open(self, link: Link) -> "_ForwardSoundFile":
        whole = [ByteRange(0, self._file.seek(0, os.SEEK_END))]
        stated_bytes = _HIDDEN_BYTES if link.is_length_hidden else None
        try:
            return _ForwardSoundFile(
                SplicedFile(self._file, whole if link.pieces is None else link.pieces, stated_bytes)
            )
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.NOT_AUDIO, _cause(error)) from error

    def _stated_frames(self, link: Link) -> int | None:
        if link.num_frames is not None:
            return link.num_frames
        # For MP3 in a WAV, libsndfile estimates the number from the bytes.
        is_estimated = self._sound.format.startswith("WAV") and self._sound.subtype.startswith("MPEG")
        frames = self._sound.frames
        return None if is_estimated or link.is_length_hidden or frames >= _UNKNOWN_FRAMES else frames

    def _blocks(self, link: Link) -> Iterator[NDArray[np.int16] | NDArray[np.float64]]:
        stated = self._stated_frames(link)
        position = 0
        while stated is None or position < stated:
            left = _BLOCK_FRAMES if stated is None else stated - position
            block = self._read(min(left, _BLOCK_FRAMES), position)
            if not len(block):
                break
            position += len(block)
            yield block
        if position < (stated or 0):
            raise ClipError(Reason.CORRUPT, f"ends at frame {position} of {stated}")
        if link.is_end_checked and self._has_more(position):
            raise ClipError(Reason.CORRUPT, f"has more than the {stated} frames that its header states")

    def _read(self, num_frames: int, position: int) -> NDArray[np.int16] | NDArray[np.float64]:
        # int16 takes a quarter of the memory, and no conversion.
        dtype = "int16" if self._sound.subtype == "PCM_16" else "float64"
        try:
            return self._sound.read(num_frames, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ClipError(Reason.CORRUPT, f"{_cause(error)}, after frame {position}") from error

    def _has_more(self, position: int) -> bool:
        try:
            return len(self._read(1, position)) > 0
        except ClipError:  # the bytes that follow are not audio
            return True


def find_links(file: BinaryIO) -> list[Link]:
    """Return the links to decode, at least one, according to the file's first bytes after any tags.

    Raises:
      ClipError: the format's check failed.
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
    # Padding may follow a tag.
    if begin or head.startswith(b"\xff"):
        return mpeg_links(file) or [Link()]
    return [Link()]


class _ForwardSoundFile(soundfile.SoundFile):
    """Reads front to back. By default soundfile seeks after each read, which fails without a FLAC length."""

    def seekable(self) -> bool:
        return False


def _cause(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")
