"""Find the samples, and their number, in the chunks of WAV, RIFX, RF64 and W64.

`wav_links` and `w64_link` take a seekable file that begins with the format's first bytes. They raise
ClipError as `walk_chunks` and `actual_bytes` do.
"""

import os
import struct
from typing import BinaryIO, NamedTuple

from transforms.audio.parsers.chunks import chunk_identifier, walk_chunks
from transforms.audio.parsers.data_size import DataChunk, actual_bytes
from transforms.audio.parsers.mpeg_frames import mpeg_links
from transforms.audio.parsers.spliced_file import ByteRange, Link, patched

FORMS = (b"RIFF", b"RIFX", b"RF64")
W64_MAGIC = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_FORMAT = b"fmt \xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
# All identifiers of Microsoft and Sonic Foundry end with one of these.
_W64_GUID_ENDS = (_W64_DATA[4:], W64_MAGIC[8:])
# Name and size of a chunk, which the size includes.
_W64_HEADER_BYTES = 24
_MAX_FORMAT_BYTES = 1 << 12
_NO_SIZE = 0xFFFFFFFF
_MPEG_FORMATS = (b"\x50\0", b"\x55\0")
# Programs that write to a pipe leave the 64-bit size of an RF64 or W64 at 0 or at the largest number.
_MAX_64_BITS = 1 << 60


class _Header(NamedTuple):
    """The samples, the offset of the field with their size, and the whole `fmt ` chunk."""

    data: DataChunk
    size_offset: int
    format_chunk: bytes


def wav_links(file: BinaryIO) -> list[Link]:
    """Return the samples of a WAV, RIFX or RF64 with a corrected size, or its MPEG frames (`mpeg_links`)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    form = file.read(4)
    order = ">" if form == b"RIFX" else "<"
    header = _read_header(file, form, order, size)
    if header is None:
        return [Link()]
    file.seek(4)
    riff_end = 8 + struct.unpack(order + "I", file.read(4))[0]

    data = header.data
    stated = data.stated_bytes
    is_closed = stated is not None and 0 <= riff_end - data.begin - stated <= 1
    num_bytes = actual_bytes(data, chunk_identifier(file, size, order + "4sI", FORMS), is_closed)
    if header.format_chunk[8:10] in _MPEG_FORMATS:
        # libsndfile would estimate the number of samples from the bytes.
        links = mpeg_links(file, data.begin, data.begin + num_bytes)
        if links is not None:
            return links
    if num_bytes == stated:
        return [Link()]
    if data.is_32_bit and num_bytes >= _NO_SIZE:
        samples = ByteRange(data.begin, data.begin + num_bytes)
        return [Link([_rf64_header(header.format_chunk, num_bytes), samples])]
    field = struct.pack(order + "I" if data.is_32_bit else "<Q", num_bytes)
    return [Link(patched(0, size, [(header.size_offset, field)]))]


def _read_header(file: BinaryIO, form: bytes, order: str, size: int) -> _Header | None:
    """Read the chunks up to the samples; None if there are no samples."""
    block_bytes, format_chunk, long_size, long_offset = 1, b"", None, 0
    for name, offset, num_bytes in walk_chunks(file, 12, order + "4sI", size):
        if name == b"ds64":
            body = file.read(16)
            if len(body) == 16:
                long_size, long_offset = struct.unpack_from("<Q", body, 8)[0], offset + 16
        elif name == b"fmt ":
            format_chunk = struct.pack(order + "4sI", name, num_bytes)
            format_chunk += file.read(min(num_bytes, _MAX_FORMAT_BYTES))
            if len(format_chunk) >= 22:
                block_bytes = max(struct.unpack_from(order + "H", format_chunk, 20)[0], 1)
        elif name == b"data":
            begin = offset + 8
            available = max(size - begin, 0)
            if form != b"RF64":
                data = DataChunk(begin, num_bytes, available, block_bytes)
                return _Header(data, offset + 4, format_chunk)
            if num_bytes != _NO_SIZE or long_size is None:
                return None
            stated = None if long_size > _MAX_64_BITS else long_size
            data = DataChunk(begin, stated, available, block_bytes, is_32_bit=False)
            return _Header(data, long_offset, format_chunk)
    return None


def _rf64_header(format_chunk: bytes, num_bytes: int) -> bytes:
    """Return a header that can state more than 4 GiB (EBU Tech 3306)."""
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + len(format_chunk) + num_bytes, num_bytes, 0, 0)
    start = struct.pack("<4sI4s", b"RF64", _NO_SIZE, b"WAVE")
    return start + sizes + format_chunk + struct.pack("<4sI", b"data", _NO_SIZE)


def w64_link(file: BinaryIO) -> Link:
    """Return the samples of a W64 (Sony Wave64) without the chunks after them.

    libsndfile would decode those chunks as samples.
    """
    size = file.seek(0, os.SEEK_END)
    block_bytes = 1

    def identify(offset: int) -> str | None:
        file.seek(-(-offset // 8) * 8)
        guid = file.read(16)
        if guid == W64_MAGIC:
            return "file"
        return "chunk" if guid.endswith(_W64_GUID_ENDS) else None

    for guid, offset, num_bytes in walk_chunks(file, 40, "<16sQ", size):
        if guid == _W64_DATA:
            begin = offset + _W64_HEADER_BYTES
            stated = None if num_bytes > _MAX_64_BITS else max(num_bytes - _W64_HEADER_BYTES, 0)
            data = DataChunk(begin, stated, size - begin, block_bytes, is_32_bit=False)
            actual = actual_bytes(data, identify)
            patch = (offset + 16, struct.pack("<Q", actual + _W64_HEADER_BYTES))
            return Link() if actual == size - begin == stated else Link(patched(0, begin + actual, [patch]))
        if num_bytes < _W64_HEADER_BYTES:
            break
        if guid == _W64_FORMAT:
            body = file.read(14)
            block_bytes = max(int.from_bytes(body[12:14], "little"), 1)
    return Link()
