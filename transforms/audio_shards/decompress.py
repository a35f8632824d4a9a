"""Decompresses gzip, bzip2, xz and Zstandard as streams, in chunks of bounded size.

A small file can decompress to any size, so a decompressor yields at most 1 MB at a time. It takes the
compressed bytes from a function `read(size)`. Damage raises `DecompressError` after the bytes before it were
yielded; with bzip2, xz and Zstandard, up to 64 kB before the damage are lost.
"""

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

CHUNK_BYTES = 1 << 20
GZIP = "gzip"
# Compressed bytes per read. Small, because gzip data before an error are decompressed again byte by byte.
COMPRESSED_BYTES = 1 << 14
# When a decompressor finds an error, the output of that call is lost. These sizes bound the loss.
_STEP_BYTES = 1 << 9
_BLOCK_BYTES = 1 << 16
_ZSTANDARD_BYTES = 1 << 12
# The highest preset of xz has a dictionary of 64 MB.
_XZ_MEMORY_BYTES = 1 << 28
# Compression -> first bytes of a file.
_SIGNATURES = {
    GZIP: re.compile(rb"\x1f\x8b\x08"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "Zstandard": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}

Read = Callable[[int], bytes]


class DecompressError(Exception):
    """The compressed data are damaged or cut off; the message is for the user."""


def compression_of(head: bytes) -> str | None:
    """Return the compression of a file with these first bytes; None if it is not compressed."""
    return next((name for name, signature in _SIGNATURES.items() if signature.match(head)), None)


def decompress(name: str, head: bytes, read: Read) -> Iterator[bytes]:
    """Yield decompressed bytes.

    Args:
      name: as `compression_of` returns.
      head: the first compressed bytes, already read.
      read: returns the next compressed bytes, at most as many as asked for, and b"" only at the end.

    Raises:
      DecompressError: the data are damaged or cut off.
    """
    stream = _gzip if name == GZIP else _zstandard if name == "Zstandard" else _blocks
    return stream(name, head, read)


def decompress_head(name: str, head: bytes, size: int) -> bytes:
    """Decompress a file's first bytes to at most `size` bytes; b"" if `head` is too short to decompress."""
    parts = []
    rest = io.BytesIO(head)
    try:
        for part in decompress(name, b"", rest.read):
            parts.append(part)
            if sum(map(len, parts)) >= size:
                break
    except DecompressError:
        pass
    return b"".join(parts)[:size]


def _gzip(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Decompress one or more concatenated gzip members."""
    unzip = zlib.decompressobj(wbits=31)
    while True:
        if unzip.eof:
            packed = packed.lstrip(b"\0")  # zero bytes after a member are padding
            if packed:
                unzip = zlib.decompressobj(wbits=31)
        data = b""
        if not unzip.eof:
            before = unzip.copy()
            try:
                data = unzip.decompress(packed, CHUNK_BYTES)
            except zlib.error as error:
                yield from _decompress_until_error(before, packed)
                raise DecompressError(f"the gzip data are damaged ({error})") from error
            if data:
                yield data
            packed = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
        if not packed and len(data) < CHUNK_BYTES:  # after a full chunk, zlib may hold more output
            packed = read(COMPRESSED_BYTES)
            if not packed:
                break
    if not unzip.eof:
        raise DecompressError("the gzip data are cut off")


def _decompress_until_error(unzip: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yield the output before an error, which zlib discards when it finds the error."""
    for index in range(len(packed)):
        try:
            data = unzip.decompress(packed[index : index + 1])
        except zlib.error:
            return
        if data:
            yield data


def _blocks(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Decompress concatenated bzip2 or xz streams."""

    def new() -> Any:
        if name == "bzip2":
            return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    decompressor = new()
    while True:
        if decompressor.eof:
            packed = (decompressor.unused_data + packed).lstrip(b"\0")  # xz pads with zero bytes
            if packed:
                decompressor = new()
        if not decompressor.eof:
            step = b""
            if decompressor.needs_input:
                step, packed = packed[:_STEP_BYTES], packed[_STEP_BYTES:]
            try:
                data = decompressor.decompress(step, _BLOCK_BYTES)
            except (OSError, lzma.LZMAError, EOFError, MemoryError, ValueError) as error:
                raise DecompressError(
                    f"the {name} data are damaged ({error or type(error).__name__})"
                ) from error
            if data:
                yield data
        if not packed and (decompressor.eof or decompressor.needs_input):
            packed = read(COMPRESSED_BYTES)
            if not packed and not (decompressor.eof and decompressor.unused_data.strip(b"\0")):
                break
    if not decompressor.eof:
        raise DecompressError(f"the {name} data are cut off")


def _zstandard(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Decompress concatenated Zstandard frames."""
    source = _Source(packed, read)
    stream = pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd")
    while True:
        try:
            data = stream.read(_ZSTANDARD_BYTES)
        except (OSError, pa.ArrowException) as error:
            source.raise_read_error()
            cause = " ".join(str(error).split())[:200].rstrip(".")
            what = "cut off" if "Truncated" in cause else f"damaged ({cause})"
            raise DecompressError(f"the Zstandard data are {what}") from error
        if not data:
            return
        yield data


class FileForArrow(io.RawIOBase):
    """A file that keeps its own errors, since Arrow's errors about the content are OSErrors too."""

    kept_errors: type[Exception] = Exception
    _error: Exception | None = None

    def readable(self) -> bool:
        return True

    def keep_error(self, call: Callable[..., Any], *arguments: int) -> Any:
        """Call a function of the file, and keep its error."""
        try:
            return call(*arguments)
        except self.kept_errors as error:
            self._error = error
            raise

    def raise_read_error(self) -> None:
        """Raise the last error that was kept, if there was one."""
        if self._error:
            raise self._error


class _Source(FileForArrow):
    """The bytes `head`, then those that `read` returns."""

    def __init__(self, head: bytes, read: Read):
        self._head, self._read = head, read

    def read(self, size: int = -1) -> bytes:
        data = self._head or self.keep_error(self._read, COMPRESSED_BYTES)
        self._head = data[size:]
        return data[:size]
