"""What a FLAC's STREAMINFO promises, and the tags around the stream."""

import os
from typing import BinaryIO

from transforms.audio.parsers.links import Link
from transforms.audio.parsers.spliced_file import patched
from transforms.audio.parsers.tags import before_tags

# Behind `fLaC` and the block's header: block sizes, frame sizes, 20 bits of rate, 3 of channels, 5 of sample
# size, and 36 of the number of samples (RFC 9639, 8.2).
_TOTAL_OFFSET = 4 + 4 + 13
_HEAD_BYTES = _TOTAL_OFFSET + 5
_STREAMINFO = 0


def flac_link(file: BinaryIO, begin: int) -> Link:
    """The stream between the tags, and the number of samples that it promises.

    The decoder is shown a stream of unknown length, since it would stop at the number in the header, and what
    follows (of concatenated files) would be lost in silence.

    Args:
      file: seekable, open in binary mode.
      begin: the place of `fLaC`, behind any ID3v2 tag.
    """
    end, size = before_tags(file), file.seek(0, os.SEEK_END)
    file.seek(begin)
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or head[4] & 0x7F != _STREAMINFO or end <= begin + _HEAD_BYTES:
        return Link()
    field = int.from_bytes(head[_TOTAL_OFFSET:], "big")
    total = field & ((1 << 36) - 1)
    if not total:
        return Link() if (begin, end) == (0, size) else Link(patched(begin, end, []))
    unknown = (field - total).to_bytes(5, "big")
    return Link(patched(begin, end, [(begin + _TOTAL_OFFSET, unknown)]), total, is_end_checked=True)
