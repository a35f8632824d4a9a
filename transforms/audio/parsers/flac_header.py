"""Read the number of samples from a FLAC's STREAMINFO, and leave out the tags around the stream."""

import os
from typing import BinaryIO

from transforms.audio.parsers.spliced_file import Link, patched
from transforms.audio.parsers.tags import end_without_tags

# Before it: `fLaC`, the block's header, block sizes and frame sizes. The five bytes are 20 bits of rate, 3 of
# channels, 5 of sample size and 36 of the number of samples (RFC 9639, 8.2).
_NUM_SAMPLES_OFFSET = 4 + 4 + 13
_HEAD_BYTES = _NUM_SAMPLES_OFFSET + 5
_STREAMINFO = 0


def flac_link(file: BinaryIO, begin: int) -> Link:
    """Return the stream between the tags, and the number of samples that it states.

    The decoder gets a header with an unknown length. Otherwise it would stop at the stated number and
    silently drop what follows, such as a concatenated file.

    Args:
      file: seekable, open in binary mode.
      begin: offset of `fLaC`, after any ID3v2 tag.
    """
    end, size = end_without_tags(file), file.seek(0, os.SEEK_END)
    file.seek(begin)
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or head[4] & 0x7F != _STREAMINFO or end <= begin + _HEAD_BYTES:
        return Link()
    field = int.from_bytes(head[_NUM_SAMPLES_OFFSET:], "big")
    total = field & ((1 << 36) - 1)
    if not total:
        return Link() if (begin, end) == (0, size) else Link(patched(begin, end, []))
    unknown = (field - total).to_bytes(5, "big")
    return Link(patched(begin, end, [(begin + _NUM_SAMPLES_OFFSET, unknown)]), total, is_end_checked=True)
