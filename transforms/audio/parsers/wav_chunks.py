"""The chunks of WAV, RIFX, RF64 and W64: where the samples are, and how many there are."""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from transforms.audio.parsers.data_size import DataChunk, real_bytes
from transforms.audio.parsers.links import Link
from transforms.audio.parsers.mpeg_frames import mpeg_links
from transforms.audio.parsers.spliced_file import Stretch, patched

FORMS = (b"RIFF", b"RIFX", b"RF64")
W64_MAGIC = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_FORMAT = b"fmt \xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
# What all of Microsoft's and Sonic Foundry's identifiers end with.
_W64_GUID_ENDS = (_W64_DATA[4:], W64_MAGIC[8:])
# A header has a few chunks; a damaged one may have any number of empty ones.
_MAX_CHUNKS = 1_000
_MAX_FORMAT_BYTES = 1 << 12
_NO_SIZE = 0xFFFFFFFF
_MPEG_FORMATS = (b"\x50\0", b"\x55\0")
# A writer to a pipe leaves the 64 bits of an RF64 or W64 at 0 or at the largest number.
_MAX_64_BITS = 1 << 60


@dataclass
class _Header:
    """What the chunks before the samples say.

    Attributes:
      order: `<` or `>`.
      data: the samples.
      size_offset: where the size of the samples stands.
      format_chunk: `fmt ` as it is.
    """

    order: str
    data: DataChunk
    size_offset: int
    format_chunk: bytes


def wav_links(file: BinaryIO) -> list[Link]:
    """The samples of a WAV, RIFX or RF64, in a file whose header states their number rightly; or MPEG frames.

    Args:
      file: seekable, open in binary mode, beginning with one of `FORMS`.

    Raises:
      ClipError: CORRUPT as `real_bytes` says, and `mpeg_links`.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    form = file.read(4)
    order = ">" if form == b"RIFX" else "<"
    header = _read_header(file, form, order, size)
    if header is None:
        return [Link()]
    file.seek(4)
    riff_end = 8 + struct.unpack(order + "I", file.read(4))[0]

    def follows(place: int) -> str | None:
        file.seek(place)
        head = file.read(8)
        if head.startswith(FORMS):
            return "file"
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        return "chunk" if struct.unpack_from(order + "I", head, 4)[0] <= size - place - 7 else None

    data = header.data
    stated = data.stated_bytes
    is_closed = stated is not None and 0 <= riff_end - data.begin - stated <= 1
    num_bytes = real_bytes(data, follows, is_closed)
    if header.format_chunk[8:10] in _MPEG_FORMATS:
        # libsndfile would estimate their number from the bytes.
        links = mpeg_links(file, data.begin, data.begin + num_bytes)
        if links is not None:
            return links
    if num_bytes == stated:
        return [Link()]
    return [_corrected(header, size, num_bytes)]


def _corrected(header: _Header, size: int, num_bytes: int) -> Link:
    """A file with a header that states this size of the samples."""
    order, data = header.order, header.data
    if not data.is_32_bit:
        return Link(patched(0, size, [(header.size_offset, struct.pack("<Q", num_bytes))]))
    if num_bytes < _NO_SIZE:
        return Link(patched(0, size, [(header.size_offset, struct.pack(order + "I", num_bytes))]))
    return Link([_rf64_header(header.format_chunk, num_bytes), Stretch(data.begin, data.begin + num_bytes)])


def _read_header(file: BinaryIO, form: bytes, order: str, size: int) -> _Header | None:
    """Goes over the chunks to the samples; None where there are none."""
    place, block_bytes, format_chunk, long_size, long_offset = 12, 1, b"", None, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, num_bytes = struct.unpack(order + "4sI", head)
        if name == b"ds64":
            body = file.read(16)
            if len(body) == 16:
                long_size, long_offset = struct.unpack_from("<Q", body, 8)[0], place + 16
        elif name == b"fmt ":
            format_chunk = head + file.read(min(num_bytes, _MAX_FORMAT_BYTES))
            if len(format_chunk) >= 22:
                block_bytes = max(struct.unpack_from(order + "H", format_chunk, 20)[0], 1)
        elif name == b"data":
            begin = place + 8
            available = max(size - begin, 0)
            if form != b"RF64":
                data = DataChunk(begin, num_bytes, available, block_bytes)
                return _Header(order, data, place + 4, format_chunk)
            if num_bytes != _NO_SIZE or long_size is None:
                return None
            stated = None if long_size > _MAX_64_BITS else long_size
            data = DataChunk(begin, stated, available, block_bytes, is_32_bit=False)
            return _Header(order, data, long_offset, format_chunk)
        place += 8 + num_bytes + num_bytes % 2
    return None


def _rf64_header(format_chunk: bytes, num_bytes: int) -> bytes:
    """A header that can state more than 4 GiB (EBU Tech 3306)."""
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + len(format_chunk) + num_bytes, num_bytes, 0, 0)
    start = struct.pack("<4sI4s", b"RF64", _NO_SIZE, b"WAVE")
    return start + sizes + format_chunk + struct.pack("<4sI", b"data", _NO_SIZE)


def w64_link(file: BinaryIO) -> Link:
    """The samples of a W64 (Sony Wave64), without what follows them, which libsndfile would take for more.

    Args:
      file: seekable, open in binary mode, beginning with `W64_MAGIC`.

    Raises:
      ClipError: CORRUPT as `real_bytes` says.
    """
    size = file.seek(0, os.SEEK_END)
    place, block_bytes = 40, 1

    def follows(place: int) -> str | None:
        file.seek(-(-place // 8) * 8)
        guid = file.read(16)
        if guid == W64_MAGIC:
            return "file"
        return "chunk" if guid.endswith(_W64_GUID_ENDS) else None

    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(24)
        if len(head) < 24:
            break
        guid, num_bytes = struct.unpack("<16sQ", head)
        if guid == _W64_FORMAT:
            body = file.read(14)
            block_bytes = max(int.from_bytes(body[12:14], "little"), 1)
        elif guid == _W64_DATA:
            begin = place + 24
            stated = None if num_bytes > _MAX_64_BITS else max(num_bytes - 24, 0)
            data = DataChunk(begin, stated, size - begin, block_bytes, is_32_bit=False)
            real = real_bytes(data, follows)
            # The size counts its own header.
            patch = (place + 16, struct.pack("<Q", real + 24))
            return Link() if real == size - begin == stated else Link(patched(0, begin + real, [patch]))
        place += -(-num_bytes // 8) * 8
        if num_bytes < 24 or place > size:
            break
    return Link()
