"""A file made of stretches of another and of bytes, without a copy of either."""

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

# mpg123 gives up where it cannot look for an ID3v1 tag there.
_TAIL_BYTES = 128


@dataclass(frozen=True)
class Stretch:
    """Bytes `begin` to `end` of the underlying file."""

    begin: int
    end: int


ClipChunk = Stretch | bytes


class SplicedFile:
    """The pieces one after the other, to be read and sought by a decoder.

    Args:
      file: seekable, open in binary mode, whose position this moves; the caller's to close.
      pieces: in their order.
      stated_bytes: a length to claim that is longer than the true one; None for that. The bytes that are not
        there cannot be read, but for the last ones, which are zero.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[ClipChunk], stated_bytes: int | None = None):
        self._file = file
        self._pieces = [piece for piece in pieces if _length(piece)]
        self._ends = list(itertools.accumulate(map(_length, self._pieces)))
        self._size = self._ends[-1] if self._ends else 0
        self._stated_bytes = self._size if stated_bytes is None else stated_bytes
        self._position = 0
        # Whether the file stands where the next byte is, and up to where that stretch goes.
        self._to = 0
        self._is_in_place = False

    def readinto(self, buffer: Any) -> int:
        """Fills as much of the buffer as there is; returns the number of bytes."""
        position = self._position
        count = len(buffer)
        if self._is_in_place and position + count <= self._to:
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
        """Reads from the piece at the position, to that piece's end at most."""
        number = bisect.bisect_right(self._ends, self._position)
        piece, end = self._pieces[number], self._ends[number]
        begin = end - _length(piece)
        offset = self._position - begin
        view = view[: end - self._position]
        if isinstance(piece, Stretch):
            self._to = end
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
        """Moves to a place; one before the file is not gone to, and a decoder sees that from the answer."""
        position = offset + (0, self._position, self._stated_bytes)[whence]
        if position >= 0 and position != self._position:
            self._position = position
            self._is_in_place = False
        return self._position

    def tell(self) -> int:
        return self._position


def _length(piece: ClipChunk) -> int:
    return piece.end - piece.begin if isinstance(piece, Stretch) else len(piece)


def patched(begin: int, end: int, patches: Sequence[tuple[int, bytes]]) -> list[ClipChunk]:
    """Bytes `begin` to `end`, with others in some places: (place in the file, bytes), in order."""
    pieces: list[ClipChunk] = []
    for place, data in patches:
        pieces += [Stretch(begin, place), data]
        begin = place + len(data)
    return [*pieces, Stretch(begin, end)]
