"""A block of a file that moves forward with what is read of it."""

from typing import BinaryIO

_READ_BYTES = 1 << 20


class ByteWindow:
    """A file's bytes up to `end`, of which a block is in memory.

    Attributes:
      data, begin: the bytes that are there, and their place in the file.
      end: the place behind the last byte that counts.
    """

    def __init__(self, file: BinaryIO, end: int):
        self._file = file
        self.data, self.begin, self.end = b"", 0, end

    def at(self, position: int, num_bytes: int) -> bytes:
        """So many bytes from a place, fewer at the end."""
        self.hold(position, num_bytes)
        offset = position - self.begin
        return self.data[offset : offset + num_bytes]

    def hold(self, position: int, num_bytes: int) -> None:
        """Reads a block where fewer than `num_bytes` bytes from a place are there."""
        here = self.begin + len(self.data)
        if self.begin <= position and min(position + num_bytes, self.end) <= here:
            return
        kept = self.data[position - self.begin :] if self.begin <= position < here else b""
        begin = position + len(kept)
        self._file.seek(begin)
        read = self._file.read(max(min(_READ_BYTES, self.end - begin), 0))
        self.data, self.begin = kept + read, position
        if not read:  # nor will there be more: a file that cannot be read seems to end
            self.end = min(self.end, begin)
