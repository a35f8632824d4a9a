"""Read the headers of AU, NIST SPHERE and FLAC, whose samples extend to the end of the file.

Each function takes a seekable file; those of AU and NIST raise ClipError as `actual_bytes` does.
"""

import os
import re
import struct
from typing import BinaryIO

from transforms.audio.parsers.data_size import DataChunk, actual_bytes
from transforms.audio.parsers.spliced_file import Link, patched
from transforms.audio.parsers.tags import end_without_tags

AU_MAGICS = (b".snd", b"dns.")
NIST_MAGIC = b"NIST_1A\n"
# Bytes per sample of AU's encodings that have a fixed size.
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_NIST_HEADER_BYTES = 1024
_NIST_NUMBER = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,18})\b", re.MULTILINE)
# In a FLAC: after `fLaC`, the block's header, block sizes and frame sizes. The five bytes are 20 bits of
# rate, 3 of channels, 5 of sample size and 36 of the number of samples (RFC 9639, 8.2).
_NUM_SAMPLES_OFFSET = 4 + 4 + 13
_FLAC_HEAD_BYTES = _NUM_SAMPLES_OFFSET + 5
_STREAMINFO = 0


def au_link(file: BinaryIO) -> Link:
    """Return the samples of an AU (Sun, NeXT)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(24)
    if len(head) < 24:
        return Link()
    order = ">" if head.startswith(b".snd") else "<"
    begin, stated, encoding, _, channels = struct.unpack_from(order + "5I", head, 4)
    if not len(head) <= begin <= size:
        return Link()
    block_bytes = max(_AU_BYTES.get(encoding, 1) * channels, 1)

    def identify(offset: int) -> str | None:
        file.seek(offset)
        return "file" if file.read(4) in AU_MAGICS else None

    actual = actual_bytes(DataChunk(begin, stated, size - begin, block_bytes), identify)
    if actual == stated:
        return Link()
    return Link(patched(0, begin + actual, [(8, struct.pack(order + "I", min(actual, 0xFFFFFFFF)))]))


def nist_link(file: BinaryIO) -> Link:
    """Return the samples of a NIST SPHERE file; libsndfile reads only uncompressed ones."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(_NIST_HEADER_BYTES)
    numbers = {name: int(value) for name, value in _NIST_NUMBER.findall(header)}
    frame_bytes = numbers.get(b"channel_count", 1) * numbers.get(b"sample_n_bytes", 1)
    if not frame_bytes or b"sample_count" not in numbers or b"shorten" in header:
        return Link()
    stated = numbers[b"sample_count"] * frame_bytes
    available = max(size - _NIST_HEADER_BYTES, 0)
    data = DataChunk(_NIST_HEADER_BYTES, stated, available, frame_bytes, is_32_bit=False)
    return Link(num_frames=actual_bytes(data, lambda _: None) // frame_bytes)


def flac_link(file: BinaryIO, begin: int) -> Link:
    """Return the stream between the tags, and the number of samples that it states.

    The decoder gets a header with an unknown length. Otherwise it would stop at the stated number and
    silently drop what follows, such as a concatenated file. `begin` is the offset of `fLaC`, after any tag.
    """
    end, size = end_without_tags(file), file.seek(0, os.SEEK_END)
    file.seek(begin)
    head = file.read(_FLAC_HEAD_BYTES)
    if len(head) < _FLAC_HEAD_BYTES or head[4] & 0x7F != _STREAMINFO or end <= begin + _FLAC_HEAD_BYTES:
        return Link()
    field = int.from_bytes(head[_NUM_SAMPLES_OFFSET:], "big")
    total = field & ((1 << 36) - 1)
    if not total:
        return Link() if (begin, end) == (0, size) else Link(patched(begin, end, []))
    unknown = (field - total).to_bytes(5, "big")
    return Link(patched(begin, end, [(begin + _NUM_SAMPLES_OFFSET, unknown)]), total, is_end_checked=True)
