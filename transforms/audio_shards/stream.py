"""A file from front to back, unpacked if it is packed; damage ends it, with the cause, and does not raise."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from transforms.audio_shards.unpack import CHUNK_BYTES, PACKED_BYTES, UnpackError, packing, unpacked

# What is asked for at once may unpack to so many bytes however small it was, and beyond them to so many times
# what it was: digital silence packs to a thousandth, and no recording to a hundredth.
BOMB_BYTES = 1 << 24
BOMB_RATIO = 100


class ByteStream:
    """Reads a file that need not be seekable: as it is, or gzip, bzip2, xz or Zstandard unpacked.

    Args:
      file: open for reading in binary mode, at its start; the caller's to close.
      is_plain: tells by the first bytes that a file is not packed though it begins as if it were.

    Attributes:
      position: bytes read so far, of the unpacked stream.
      damage: why the stream ended too early, "" if it did not, or has not yet.
    """

    def __init__(self, file: BinaryIO, is_plain: Callable[[bytes], bool] = lambda head: False):
        self.position = 0
        self.damage = ""
        self._file = file
        self._packed = 0
        self._chunk, self._start = self._read_file(PACKED_BYTES), 0
        packed_with = None if is_plain(self._chunk) else packing(self._chunk)
        if packed_with:
            self._chunks = self._unpacked(packed_with, self._chunk)
            self._chunk = b""
        else:
            self._chunks = iter(lambda: self._read_file(CHUNK_BYTES), b"")

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only where the stream ends, as it does where a bomb unpacks."""
        parts = []
        begin, packed = self.position, self._packed
        while size > 0:
            got = self.position - begin
            if got > BOMB_BYTES and got > BOMB_RATIO * (self._packed - packed):
                self._end_at_bomb(got)
                return b""
            if self._start == len(self._chunk):
                self._chunk, self._start = next(self._chunks, b""), 0
                if not self._chunk:
                    break
            part = self._chunk[self._start : self._start + size]
            self._start += len(part)
            self.position += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only where the stream ends, which the next `read` gives again."""
        while len(self._chunk) - self._start < size and (more := next(self._chunks, b"")):
            self._chunk, self._start = self._chunk[self._start :] + more, 0
        return self._chunk[self._start : self._start + size]

    def skip(self, size: int) -> bool:
        """Reads and forgets `size` bytes; False where the stream ends before."""
        end = self.position + size
        while self.position < end and self.read(min(end - self.position, CHUNK_BYTES)):
            pass
        return self.position == end

    def _end_at_bomb(self, got: int) -> None:
        self.damage = (
            f"{got >> 20} MB unpack from less than a hundredth: a decompression bomb, or hours of silence; "
            "give such a recording as a file"
        )
        self._chunk, self._start, self._chunks = b"", 0, iter(())

    def _read_file(self, size: int) -> bytes:
        """As much as asked even of a file that gives less than asked, as an unbuffered one may."""
        data = self._file.read(size)
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self._packed += len(data)
        return data

    def _unpacked(self, packed_with: str, head: bytes) -> Iterator[bytes]:
        try:
            yield from unpacked(packed_with, head, self._read_file)
        except UnpackError as error:
            self.damage = str(error)
