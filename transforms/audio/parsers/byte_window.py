"""Read a file through a buffer that only moves forward."""

from typing import BinaryIO

_READ_BYTES = 1 << 20


class ByteWindow:
    """A file up to offset `end`, of which one block is in memory.

    Attributes:
      data, begin: the bytes in memory, and their offset in the file.
      end: offset after the last byte to read.
    """

    def __init__(self, file: BinaryIO, end: int):
        self._file = file
        self.data, self.begin, self.end = b"", 0, end

    def read_at(self, position: int, num_bytes: int) -> bytes:
        """Return `num_bytes` bytes from an offset, fewer at the end."""
        self.load(position, num_bytes)
        offset = position - self.begin
        return self.data[offset : offset + num_bytes]

    def load(self, position: int, num_bytes: int) -> None:
        """Read a block unless `num_bytes` bytes from an offset are in memory."""
        loaded_end = self.begin + len(self.data)
        if self.begin <= position and min(position + num_bytes, self.end) <= loaded_end:
            return
        kept = self.data[position - self.begin :] if self.begin <= position < loaded_end else b""
        begin = position + len(kept)
        self._file.seek(begin)
        read = self._file.read(max(min(_READ_BYTES, self.end - begin), 0))
        self.data, self.begin = kept + read, position
        if not read:  # a file that cannot be read seems to end; do not expect more bytes
            self.end = min(self.end, begin)
