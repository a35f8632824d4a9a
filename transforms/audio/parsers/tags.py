"""Find ID3, APE and Lyrics3 tags before, after and between audio."""

import os
from typing import BinaryIO

# Number of bytes that `tag_bytes` needs at most.
HEAD_BYTES = 32
_ID3V1_BYTES = 128
_ID3V1_EXTENDED_BYTES = 227
_APE_BYTES = 32
_APE_HAS_HEADER = 1 << 31
_APE_IS_HEADER = 1 << 29


def tag_bytes(head: bytes) -> int:
    """Return the length in bytes of the tag that begins here, or 0.

    Args:
      head: the first `HEAD_BYTES` bytes, or fewer at the end of a file.
    """
    if head.startswith(b"ID3"):
        return _id3v2_bytes(head)
    if head.startswith(b"APETAGEX") and len(head) >= _APE_BYTES:
        following = int.from_bytes(head[12:16], "little")
        is_header = int.from_bytes(head[20:24], "little") & _APE_IS_HEADER
        return _APE_BYTES + (following if is_header else 0)
    if head.startswith(b"TAG+"):
        return _ID3V1_EXTENDED_BYTES
    return _ID3V1_BYTES if head.startswith(b"TAG") else 0


def skip_tags(file: BinaryIO, position: int = 0) -> int:
    """Return the offset after the ID3v2 and APE tags that begin at `position`."""
    while True:
        file.seek(position)
        head = file.read(HEAD_BYTES)
        length = tag_bytes(head) if head.startswith((b"ID3", b"APETAGEX")) else 0
        if not length:
            return position
        position += length


def end_without_tags(file: BinaryIO) -> int:
    """Return the offset where the tags at the end of a file begin, or the file's size if there are none."""
    end = file.seek(0, os.SEEK_END)
    while True:
        length = _tag_bytes_ending_at(file, end)
        if not length or length > end:
            return end
        end -= length


def _tag_bytes_ending_at(file: BinaryIO, end: int) -> int:
    """Return the length of the tag that ends here, or 0."""
    begin = max(end - _ID3V1_BYTES, 0)
    file.seek(begin)
    tail = file.read(end - begin)
    if len(tail) == _ID3V1_BYTES and tail.startswith(b"TAG"):
        return _ID3V1_BYTES
    footer = tail[-_APE_BYTES:]
    if footer.startswith(b"APETAGEX"):
        has_header = int.from_bytes(footer[20:24], "little") & _APE_HAS_HEADER
        return int.from_bytes(footer[12:16], "little") + (_APE_BYTES if has_header else 0)
    if tail.endswith(b"LYRICS200") and tail[-15:-9].isdigit():
        return int(tail[-15:-9]) + 15
    if tail[-10:-7] == b"3DI":
        return _id3v2_bytes(tail[-10:])
    if end > _ID3V1_EXTENDED_BYTES:
        file.seek(end - _ID3V1_EXTENDED_BYTES)
        return _ID3V1_EXTENDED_BYTES if file.read(4) == b"TAG+" else 0
    return 0


def _id3v2_bytes(head: bytes) -> int:
    """Return a tag's length from its header or footer, with seven bits per size byte (ID3 2.4.0, 3.1)."""
    sizes = head[6:10]
    if len(head) < 10 or 0xFF in head[3:5] or any(size >= 0x80 for size in sizes):
        return 0
    size = sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3]
    return 20 + size if head[5] & 0x10 else 10 + size
