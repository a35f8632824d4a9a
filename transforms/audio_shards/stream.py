"""Reads and decompresses a file as a stream; damage ends the stream with a cause, not with an exception."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from transforms.audio_shards.decompress import (
    CHUNK_BYTES,
    COMPRESSED_BYTES,
    DecompressError,
    compression_of,
    decompress,
)

# A read is a decompression bomb if it gives more than BOMB_BYTES and more than BOMB_RATIO times its
# compressed size. Digital silence compresses to a thousandth, but no recording to a hundredth.
BOMB_BYTES = 1 << 24
BOMB_RATIO = 100


class ByteStream:
    """Reads a file that need not be seekable: plain, or compressed with gzip, bzip2, xz or Zstandard.

    Args:
      file: open for reading in binary mode, at its start; the caller closes it.
      is_plain: returns whether a file with these first bytes is uncompressed even if they look compressed.

    Attributes:
      position: number of decompressed bytes read so far.
      damage: why the stream ended too early; "" if it did not.
    """

    def __init__(self, file: BinaryIO, is_plain: Callable[[bytes], bool] = lambda head: False):
        self.position = 0
        self.damage = ""
        self._file = file
        self._file_bytes = 0
        self._chunk, self._start = self._read_file(COMPRESSED_BYTES), 0
        compression = None if is_plain(self._chunk) else compression_of(self._chunk)
        if compression:
            self._chunks = self._decompress(compression, self._chunk)
            self._chunk = b""
        else:
            self._chunks = iter(lambda: self._read_file(CHUNK_BYTES), b"")

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end. A decompression bomb ends the stream."""
        parts = []
        begin, file_begin = self.position, self._file_bytes
        while size > 0:
            num_bytes = self.position - begin
            if num_bytes > BOMB_BYTES and num_bytes > BOMB_RATIO * (self._file_bytes - file_begin):
                self.damage = (
                    f"{num_bytes >> 20} MB are decompressed from less than a hundredth of it: "
                    "a decompression bomb, or hours of silence; give such a recording as a file"
                )
                self._chunk, self._start, self._chunks = b"", 0, iter(())
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
        """Return the next `size` bytes, fewer only at the end, without advancing."""
        while len(self._chunk) - self._start < size and (more := next(self._chunks, b"")):
            self._chunk, self._start = self._chunk[self._start :] + more, 0
        return self._chunk[self._start : self._start + size]

    def skip(self, size: int) -> bool:
        """Read and discard `size` bytes; return False if the stream ends before."""
        end = self.position + size
        while self.position < end and self.read(min(end - self.position, CHUNK_BYTES)):
            pass
        return self.position == end

    def _read_file(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end. A single read of an unbuffered file may return less."""
        data = self._file.read(size)
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        self._file_bytes += len(data)
        return data

    def _decompress(self, compression: str, head: bytes) -> Iterator[bytes]:
        try:
            yield from decompress(compression, head, self._read_file)
        except DecompressError as error:
            self.damage = str(error)
