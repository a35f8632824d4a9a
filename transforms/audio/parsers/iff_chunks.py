"""Find the samples, and their number, in the chunks of AIFF, AIFF-C, 8SVX and CAF.

Each function takes a seekable file that begins with the format's first bytes. It raises ClipError as
`walk_chunks` and `actual_bytes` do.
"""

import os
import struct
from typing import BinaryIO

from transforms.audio.parsers.chunks import chunk_identifier, walk_chunks
from transforms.audio.parsers.data_size import DataChunk, actual_bytes
from transforms.audio.parsers.spliced_file import Link, patched

_MAGICS = (b"FORM", b"caff")
# Uncompressed types of AIFF-C. For `_BYTE_TYPES`, COMM may give the bits of the decoded samples.
_BYTE_TYPES = (b"ulaw", b"ULAW", b"alaw", b"ALAW", b"raw ")
_PLAIN_TYPES = (b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32")
# SSND begins with an offset and a block size.
_SSND_BYTES = 8
_CAF_EDIT_COUNT_BYTES = 4


def iff_link(file: BinaryIO) -> Link:
    """Return the samples of an AIFF, AIFF-C, 8SVX or 16SV.

    COMM's number of samples is exact, while SSND's size may include a padding byte.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(4)
    form_end = 8 + int.from_bytes(file.read(4), "big")
    num_frames, frame_bytes = 0, 0
    for name, offset, num_bytes in walk_chunks(file, 12, ">4sI", size):
        if name == b"COMM":
            num_frames, frame_bytes = _read_comm(file.read(min(num_bytes, 22)))
        elif name in (b"SSND", b"BODY"):
            skipped = 0 if name == b"BODY" else _SSND_BYTES + int.from_bytes(file.read(4), "big")
            begin = min(offset + 8 + skipped, size)
            data = DataChunk(begin, max(num_bytes - skipped, 0), size - begin, max(frame_bytes, 1))
            is_closed = abs(form_end - offset - 8 - num_bytes) <= 1
            actual = actual_bytes(data, chunk_identifier(file, size, ">4sI", _MAGICS), is_closed)
            # COMM comes first in most files. Otherwise only the size of the samples is known.
            is_padded = frame_bytes and 0 <= actual - num_frames * frame_bytes < max(2, frame_bytes)
            patch = (offset + 4, struct.pack(">I", min(actual + skipped, 0xFFFFFFFF)))
            is_plain = actual == data.stated_bytes and name == b"SSND"
            pieces = None if is_plain else patched(0, begin + actual, [patch])
            return Link(pieces, num_frames if is_padded else None)
    return Link()


def _read_comm(body: bytes) -> tuple[int, int]:
    """Return the number of samples and the bytes per sample of all channels; zeros for compressed audio."""
    if len(body) < 18:
        return 0, 0
    channels, num_frames, bits = struct.unpack_from(">HIH", body)
    kind = body[18:22] or b"NONE"
    if kind in _BYTE_TYPES:
        return num_frames, channels
    return (num_frames, channels * -(-bits // 8)) if kind in _PLAIN_TYPES else (0, 0)


def caf_link(file: BinaryIO) -> Link:
    """Return the samples of a CAF (Apple Core Audio Format 1.0)."""
    size = file.seek(0, os.SEEK_END)
    block_bytes = 1
    for name, offset, num_bytes in walk_chunks(file, 8, ">4sq", size):
        if name == b"desc":
            body = file.read(20)
            block_bytes = max(int.from_bytes(body[16:20], "big"), 1)
        elif name == b"data":
            begin = min(offset + 12 + _CAF_EDIT_COUNT_BYTES, size)
            stated = None if num_bytes < 0 else max(num_bytes - _CAF_EDIT_COUNT_BYTES, 0)
            data = DataChunk(begin, stated, size - begin, block_bytes, is_32_bit=False)
            actual = actual_bytes(data, chunk_identifier(file, size, ">4sq", _MAGICS))
            if actual == stated:
                return Link()
            return Link(patched(0, size, [(offset + 4, struct.pack(">q", actual + _CAF_EDIT_COUNT_BYTES))]))
    return Link()
