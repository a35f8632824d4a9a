"""The chunks of AIFF, AIFF-C, 8SVX and CAF: where the samples are, and how many there are."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from transforms.audio.parsers.data_size import DataChunk, real_bytes
from transforms.audio.parsers.links import Link
from transforms.audio.parsers.spliced_file import patched

# A header has a few chunks; a damaged one may have any number of empty ones.
_MAX_CHUNKS = 1_000
# Types of AIFF-C without compression; of the first ones COMM's bits may be those of the decoded samples.
_BYTE_TYPES = (b"ulaw", b"ULAW", b"alaw", b"ALAW", b"raw ")
_PLAIN_TYPES = (b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32")
# SSND's offset and block size.
_SSND_BYTES = 8
_CAF_EDIT_COUNT_BYTES = 4


def iff_link(file: BinaryIO) -> Link:
    """The samples of an AIFF, AIFF-C, 8SVX or 16SV.

    COMM's number of samples is exact where SSND's size counts a padding byte too.

    Args:
      file: seekable, open in binary mode, beginning with `FORM`.

    Raises:
      ClipError: CORRUPT as `real_bytes` says.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(4)
    form_end = 8 + int.from_bytes(file.read(4), "big")
    num_frames, frame_bytes = 0, 0
    for name, place, num_bytes in _chunks(file, 12, ">4sI", size):
        if name == b"COMM":
            num_frames, frame_bytes = _read_comm(file.read(min(num_bytes, 22)))
        elif name in (b"SSND", b"BODY"):
            skipped = 0 if name == b"BODY" else _SSND_BYTES + int.from_bytes(file.read(4), "big")
            begin = min(place + 8 + skipped, size)
            data = DataChunk(begin, max(num_bytes - skipped, 0), size - begin, max(frame_bytes, 1))
            is_closed = abs(form_end - place - 8 - num_bytes) <= 1
            real = real_bytes(data, _Followers(file, size, ">4sI"), is_closed)
            # COMM comes first in most files; where it does not, the size of the samples is all there is.
            is_padded = frame_bytes and 0 <= real - num_frames * frame_bytes < max(2, frame_bytes)
            patch = (place + 4, struct.pack(">I", min(real + skipped, 0xFFFFFFFF)))
            is_plain = real == data.stated_bytes and name == b"SSND"
            pieces = None if is_plain else patched(0, begin + real, [patch])
            return Link(pieces, num_frames if is_padded else None)
    return Link()


def _read_comm(body: bytes) -> tuple[int, int]:
    """Number of samples, and bytes of one in each channel; zeros where it is compressed."""
    if len(body) < 18:
        return 0, 0
    channels, num_frames, bits = struct.unpack_from(">HIH", body)
    kind = body[18:22] or b"NONE"
    if kind in _BYTE_TYPES:
        return num_frames, channels
    return (num_frames, channels * -(-bits // 8)) if kind in _PLAIN_TYPES else (0, 0)


def caf_link(file: BinaryIO) -> Link:
    """The samples of a CAF (Apple Core Audio Format 1.0).

    Args:
      file: seekable, open in binary mode, beginning with `caff`.

    Raises:
      ClipError: CORRUPT as `real_bytes` says.
    """
    size = file.seek(0, os.SEEK_END)
    block_bytes = 1
    for name, place, num_bytes in _chunks(file, 8, ">4sq", size):
        if name == b"desc":
            body = file.read(20)
            block_bytes = max(int.from_bytes(body[16:20], "big"), 1)
        elif name == b"data":
            begin = min(place + 12 + _CAF_EDIT_COUNT_BYTES, size)
            stated = None if num_bytes < 0 else max(num_bytes - _CAF_EDIT_COUNT_BYTES, 0)
            data = DataChunk(begin, stated, size - begin, block_bytes, is_32_bit=False)
            real = real_bytes(data, _Followers(file, size, ">4sq"))
            if real == stated:
                return Link()
            return Link(patched(0, size, [(place + 4, struct.pack(">q", real + _CAF_EDIT_COUNT_BYTES))]))
    return Link()


def _chunks(file: BinaryIO, place: int, header: str, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields each chunk's name, place and size; the file stands behind the chunk's header then."""
    is_even = header.endswith("I")
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(struct.calcsize(header))
        if len(head) < struct.calcsize(header):
            return
        name, num_bytes = struct.unpack(header, head)
        yield name, place, num_bytes
        place += len(head) + max(num_bytes, 0) + (num_bytes % 2 if is_even else 0)
        if place > size:  # and maybe than any place in a file
            return


class _Followers:
    """What stands at a place of a file of chunks, as `real_bytes` asks."""

    def __init__(self, file: BinaryIO, size: int, header: str):
        self._file, self._size, self._header = file, size, header

    def __call__(self, place: int) -> str | None:
        self._file.seek(place)
        head = self._file.read(struct.calcsize(self._header))
        if head.startswith((b"FORM", b"caff")):
            return "file"
        if len(head) < struct.calcsize(self._header) or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        _, num_bytes = struct.unpack(self._header, head)
        return "chunk" if 0 <= num_bytes <= self._size - place - len(head) + 1 else None
