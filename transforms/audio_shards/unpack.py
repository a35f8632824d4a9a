"""Decompressors as streams: what a file's first bytes say it is packed with, unpacked in bounded pieces.

Each unpacker takes `read`, a function of a size that gives the packed bytes, and yields what they hold, at
most 1 MB at a time, since a small file can unpack to any size. Damage raises `UnpackError` after all that
stands before it; of bzip2, xz and Zstandard up to 64 kB before the damage are lost with it.
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
# Less than a chunk, because what precedes a fault in gzip is found again byte by byte.
PACKED_BYTES = 1 << 14
# What a fault costs is all that the call that finds it would give.
_STEP_BYTES = 1 << 9
_BLOCK_BYTES = 1 << 16
_ZSTANDARD_BYTES = 1 << 12
# An xz of the highest preset has a dictionary of 64 MB.
_XZ_MEMORY_BYTES = 1 << 28
# Names of formats -> their first bytes.
_MARKS = {
    GZIP: re.compile(rb"\x1f\x8b\x08"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "Zstandard": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
}

Read = Callable[[int], bytes]


class UnpackError(Exception):
    """Packed data that are damaged or cut off; the message says so, for a person."""


def packing(head: bytes) -> str | None:
    """What a file is packed with, by its first bytes; None: it is not."""
    return next((name for name, mark in _MARKS.items() if mark.match(head)), None)


def unpacked(name: str, head: bytes, read: Read) -> Iterator[bytes]:
    """Yields what packed data hold.

    Args:
      name: as `packing` returns.
      head: the data's first bytes, which were read already.
      read: gives the next bytes, at most as many as asked, and none only at the end.

    Raises:
      UnpackError: the data are damaged or cut off.
    """
    unpack = _gzip if name == GZIP else _zstandard if name == "Zstandard" else _blocks
    return unpack(name, head, read)


def unpack_head(name: str, head: bytes, size: int) -> bytes:
    """What the first bytes of packed data hold, up to `size` bytes; nothing where they are too few."""
    parts = []
    rest = io.BytesIO(head)
    try:
        for part in unpacked(name, b"", rest.read):
            parts.append(part)
            if sum(map(len, parts)) >= size:
                break
    except UnpackError:
        pass
    return b"".join(parts)[:size]


def _gzip(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Members of gzip, one or more, up to the end or the damage."""
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
                data = unzip.decompress(packed, CHUNK_BYTES)
            except zlib.error as error:
                yield from _until_error(before, packed)
                raise UnpackError(f"the gzip data are damaged ({error})") from error
            if data:
                yield data
            packed = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
        if not packed and len(data) < CHUNK_BYTES:  # a full chunk may have more to come
            packed = read(PACKED_BYTES)
            if not packed:
                break
    if not unzip.eof:
        raise UnpackError("the gzip data are cut off")


def _until_error(unzip: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yields what can be unpacked before an error, which zlib drops together with it."""
    for place in range(len(packed)):
        try:
            data = unzip.decompress(packed[place : place + 1])
        except zlib.error:
            return
        if data:
            yield data


def _blocks(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Streams of bzip2 or xz, one behind the other."""

    def new() -> Any:
        if name == "bzip2":
            return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    unpacker = new()
    while True:
        if unpacker.eof:
            packed = (unpacker.unused_data + packed).lstrip(b"\0")  # xz pads with zeros
            if packed:
                unpacker = new()
        if not unpacker.eof:
            step = b""
            if unpacker.needs_input:
                step, packed = packed[:_STEP_BYTES], packed[_STEP_BYTES:]
            try:
                data = unpacker.decompress(step, _BLOCK_BYTES)
            except (OSError, lzma.LZMAError, EOFError, MemoryError, ValueError) as error:
                raise UnpackError(f"the {name} data are damaged ({error or type(error).__name__})") from error
            if data:
                yield data
        if not packed and (unpacker.eof or unpacker.needs_input):
            packed = read(PACKED_BYTES)
            if not packed and not (unpacker.eof and unpacker.unused_data.strip(b"\0")):
                break
    if not unpacker.eof:
        raise UnpackError(f"the {name} data are cut off")


def _zstandard(name: str, packed: bytes, read: Read) -> Iterator[bytes]:
    """Frames of Zstandard, one behind the other."""
    source = _Source(packed, read)
    stream = pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd")
    while True:
        try:
            data = stream.read(_ZSTANDARD_BYTES)
        except (OSError, pa.ArrowException) as error:
            source.raise_own()
            cause = " ".join(str(error).split())[:200].rstrip(".")
            what = "cut off" if "Truncated" in cause else f"damaged ({cause})"
            raise UnpackError(f"the Zstandard data are {what}") from error
        if not data:
            return
        yield data


class _Source:
    """A file for Arrow of some bytes and those that `read` gives, whose errors are kept apart."""

    closed = False

    def __init__(self, head: bytes, read: Read):
        self._head, self._read = head, read
        self._error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._head or self._read(PACKED_BYTES)
        except Exception as error:
            self._error = error
            raise
        self._head = data[size:]
        return data[:size]

    def raise_own(self) -> None:
        if self._error:
            raise self._error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        """Leaves the file open: it is the caller's."""
