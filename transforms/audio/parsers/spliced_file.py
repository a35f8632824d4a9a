"""What a decoder reads instead of a file: byte ranges of the file and new bytes, without a copy of either."""

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

# mpg123 fails if it cannot look for an ID3v1 tag in the last 128 bytes.
_TAIL_BYTES = 128


@dataclass(frozen=True)
class ByteRange:
    """Bytes `begin` to `end` of the underlying file."""

    begin: int
    end: int


Piece = ByteRange | bytes


@dataclass(frozen=True)
class Link:
    """A part of a file that one decoder reads from front to back.

    "Link" is the Ogg term for one stream of a chained file. Most files are a single link.
    """

    pieces: Sequence[Piece] | None = None  # what the decoder reads; None for the file as it is
    num_frames: int | None = None  # samples per channel to decode; None if the decoder reports the number
    # Hide the file's length from the decoder, which would estimate the number of samples and stop there.
    is_length_hidden: bool = False
    is_end_checked: bool = False  # it is an error if the decoder has more than `num_frames`


class SplicedFile:
    """Presents the pieces one after the other as a file that a decoder can read and seek.

    It has no name, because soundfile assumes that a file named `.raw` has no header.

    Args:
      file: seekable, open in binary mode. This object moves its position; the caller closes it.
      pieces: the pieces in order.
      stated_bytes: a length to report that exceeds the true one; None for the true one. Bytes beyond the true
        length cannot be read, except for the last 128, which are zero.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece], stated_bytes: int | None = None):
        self._file = file
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._ends = list(itertools.accumulate(map(_length, self._pieces)))
        self._size = self._ends[-1] if self._ends else 0
        self._stated_bytes = self._size if stated_bytes is None else stated_bytes
        self._position = 0
        # Whether the underlying file is positioned at the next byte, and where the current byte range ends.
        self._range_end = 0
        self._is_in_place = False

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as possible, and return the number of bytes."""
        position = self._position
        count = len(buffer)
        if self._is_in_place and position + count <= self._range_end:
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            self._position += count
            return count
        view, done = memoryview(buffer).cast("B"), 0
        if self._size <= self._stated_bytes - _TAIL_BYTES <= position:
            view[:] = bytes(count)
            return count
        while done < count and self._position < self._size:
            part = self._read_part(view[done:])
            if not part:
                break
            done += part
        return done

    def _read_part(self, view: memoryview) -> int:
        """Read from the piece at the position, at most to the end of that piece."""
        number = bisect.bisect_right(self._ends, self._position)
        piece, end = self._pieces[number], self._ends[number]
        begin = end - _length(piece)
        offset = self._position - begin
        view = view[: end - self._position]
        if isinstance(piece, ByteRange):
            self._range_end = end
            self._file.seek(piece.begin + offset)
            self._is_in_place = True
            count = self._file.readinto(view)  # type: ignore[attr-defined]
        else:
            self._is_in_place = False
            count = len(view)
            view[:] = piece[offset : offset + count]
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset and return the position.

        A damaged header can ask for a negative offset. That leaves the position unchanged, which libsndfile
        notices.
        """
        position = offset + (0, self._position, self._stated_bytes)[whence]
        if position >= 0 and position != self._position:
            self._position = position
            self._is_in_place = False
        return self._position

    def tell(self) -> int:
        return self._position


def _length(piece: Piece) -> int:
    return piece.end - piece.begin if isinstance(piece, ByteRange) else len(piece)


def patched(begin: int, end: int, patches: Sequence[tuple[int, bytes]]) -> list[Piece]:
    """Return bytes `begin` to `end` with patches applied: (offset in the file, new bytes), in order."""
    pieces: list[Piece] = []
    for offset, data in patches:
        pieces += [ByteRange(begin, offset), data]
        begin = offset + len(data)
    return [*pieces, ByteRange(begin, end)]
