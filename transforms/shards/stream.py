"""A file from front to back, unpacked if it is gzip; damage ends it, with the cause, and does not raise."""

import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

GZIP_MAGIC = b"\x1f\x8b\x08"

# Never more at a time: a small file can unpack to any size.
_CHUNK_BYTES = 1 << 20
# What is asked for at once may unpack to so many bytes however small it was, and beyond them to so many times
# what it was: digital silence packs to a thousandth, and no recording to a hundredth.
_BOMB_BYTES = 1 << 24
_BOMB_RATIO = 100
# Less than a chunk, because what precedes a fault is found again byte by byte.
_PACKED_BYTES = 1 << 14


class ByteStream:
    """Reads a file that need not be seekable.

    Args:
      file: open for reading in binary mode, at its start; the caller's to close.
      is_plain: tells by the first bytes that a file is not gzip though it begins as one.

    Attributes:
      position: bytes read so far, of the unpacked stream.
      damage: why the stream ended too early, "" if it did not, or has not yet.
    """

    def __init__(self, file: BinaryIO, is_plain: Callable[[bytes], bool] = lambda head: False):
        self.position = 0
        self.damage = ""
        self._file = file
        self._packed = 0
        self._chunk, self._start = self._read_file(_PACKED_BYTES), 0
        if self._chunk.startswith(GZIP_MAGIC) and not is_plain(self._chunk):
            self._chunks = self._unpacked(self._chunk)
            self._chunk = b""
        else:
            self._chunks = iter(lambda: self._read_file(_CHUNK_BYTES), b"")

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only where the stream ends, as it does where a bomb unpacks."""
        parts = []
        begin, packed = self.position, self._packed
        while size > 0:
            got = self.position - begin
            if got > _BOMB_BYTES and got > _BOMB_RATIO * (self._packed - packed):
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

    def skip(self, size: int) -> bool:
        """Reads and forgets `size` bytes; False where the stream ends before."""
        end = self.position + size
        while self.position < end and self.read(min(end - self.position, _CHUNK_BYTES)):
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

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        """Yields what one or more gzip members hold, up to the end or the damage."""
        unzip = zlib.decompressobj(wbits=31)
        while True:
            if unzip.eof:
                packed = packed.lstrip(b"\0")  # zeros after a member are padding
                if packed:
                    unzip = zlib.decompressobj(wbits=31)
            data = b""
            if not unzip.eof:
                before = unzip.copy()
                try:
                    data = unzip.decompress(packed, _CHUNK_BYTES)
                except zlib.error as error:
                    yield from _until_error(before, packed)
                    self.damage = f"the gzip data are damaged ({error})"
                    return
                if data:
                    yield data
                packed = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
            if not packed and len(data) < _CHUNK_BYTES:  # a full chunk may have more to come
                packed = self._read_file(_PACKED_BYTES)
                if not packed:
                    break
        if not unzip.eof:
            self.damage = "the gzip data are cut off"


def _until_error(unzip: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yields what can be unpacked before an error, which zlib drops together with it."""
    for place in range(len(packed)):
        try:
            data = unzip.decompress(packed[place : place + 1])
        except zlib.error:
            return
        if data:
            yield data
