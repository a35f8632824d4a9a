"""The pages of an Ogg file (RFC 3533): whether all are there, and where the links of a chain begin."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from transforms.audio.parsers.links import Link
from transforms.audio.parsers.spliced_file import Stretch, patched
from transforms.errors import ClipError, Reason

_HEADER_BYTES = 27
_MAX_PAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255
_READ_BYTES = 1 << 20
_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page
_CODECS = (b"OpusHead", b"\x01vorbis")
# In OpusHead behind its magic: version, channels, pre-skip, input rate (RFC 7845, 5.1).
_OPUS_RATE_OFFSET = 12
_OPUS_RATE_HZ = 48_000
# Samples of a frame at 48 kHz by a packet's configuration: SILK, hybrid, CELT (RFC 6716, table 2).
_OPUS_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
# Magic, version, flags, granule position, serial number, sequence number, checksum (RFC 3533, 6).
_PAGE = struct.Struct("<4sBBqIII")
_CHECKSUM_OFFSET = 22
# The checksum is a CRC-32 of zlib's polynomial, but with each byte's highest bit first.
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _OpenLink:
    """A link whose pages are being read.

    Attributes:
      begin: its place in the file.
      first_page: with the codec's header.
      next_numbers: serial number -> sequence number of the stream's next page.
      unfinished: serial numbers of streams whose last page has not come.
      has_data: whether a page came that begins no stream.
      start: of Opus, granule position at which the first packet begins; None before there is one.
    """

    begin: int
    first_page: bytes
    next_numbers: dict[int, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    has_data: bool = False
    start: int | None = None


def ogg_links(file: BinaryIO) -> list[Link]:
    """Reads every page of an Ogg file once, and gives the links of its chain.

    OpusHead's input rate is information about the source (RFC 7845, 5.1), but libsndfile would decode at it:
    it is shown 48 kHz.

    Args:
      file: seekable, open in binary mode, beginning with `OggS`.

    Raises:
      ClipError: CORRUPT where a page is damaged, cut off, or absent by the sequence numbers, or a stream has
        no last page; NOT_AUDIO where a link is not one stream of Vorbis or Opus, as libsndfile wants.
    """
    size = file.seek(0, os.SEEK_END)
    links = []
    current = None
    end = 0
    for begin, page in _pages(file):
        _, _, flags, granule, serial, number, _ = _PAGE.unpack_from(page)
        if flags & _FIRST:
            if current is not None and current.has_data:
                links.append(_closed(file, current, end, size))
                current = None
            current = current or _OpenLink(begin, page)
            current.unfinished.add(serial)
        elif current is None or serial not in current.next_numbers:
            message = f"the page at byte {begin} is of an Ogg stream without a first page"
            raise ClipError(Reason.CORRUPT, message)
        else:
            current.has_data = True
            due = current.next_numbers[serial]
            if number != due:
                message = f"Ogg pages are lost before byte {begin}: number {number} where {due} is due"
                raise ClipError(Reason.CORRUPT, message)
        current.next_numbers[serial] = (number + 1) & 0xFFFFFFFF
        if granule > 0 and current.start is None and not flags & _FIRST:
            current.start = max(granule - _opus_duration(page), 0)
        if flags & _LAST:
            current.unfinished.discard(serial)
        end = begin + len(page)
    if current is not None:
        links.append(_closed(file, current, end, size))
    return links


def _closed(file: BinaryIO, link: _OpenLink, end: int, size: int) -> Link:
    if link.unfinished:
        raise ClipError(Reason.CORRUPT, f"the Ogg stream ends at byte {end} without its last page")
    header = link.first_page[_HEADER_BYTES + link.first_page[26] :]
    if len(link.next_numbers) > 1 or not header.startswith(_CODECS):
        raise ClipError(Reason.NOT_AUDIO, "an Ogg file that is not one stream of Vorbis or Opus")
    if header.startswith(b"OpusHead"):
        patches = []
        rate = struct.pack("<I", _OPUS_RATE_HZ)
        if header[_OPUS_RATE_OFFSET : _OPUS_RATE_OFFSET + 4] != rate:
            patches.append((link.begin, _with_opus_rate(link.first_page, rate)))
        if link.start:
            patches += _earlier(file, link, end)
        if patches:
            return Link(patched(link.begin, end, patches))
    if (link.begin, end) == (0, size):
        return Link()
    return Link([Stretch(link.begin, end)])


def _with_opus_rate(page: bytes, rate: bytes) -> bytes:
    begin = _HEADER_BYTES + page[26] + _OPUS_RATE_OFFSET
    return _with_checksum(page[:begin] + rate + page[begin + 4 :])


def _with_checksum(page: bytes) -> bytes:
    return page[:_CHECKSUM_OFFSET] + struct.pack("<I", page_checksum(page)) + page[_CHECKSUM_OFFSET + 4 :]


def _earlier(file: BinaryIO, link: _OpenLink, end: int) -> list[tuple[int, bytes]]:
    """Patches that let a stream begin at 0: where it begins later, libsndfile plays its pre-skip too, and
    leaves out as much at the end."""
    patches = []
    for place, page in _pages(file, link.begin, end):
        _, _, flags, granule, *_ = _PAGE.unpack_from(page)
        if granule > 0 and not flags & _FIRST:
            changed = _with_checksum(page[:6] + struct.pack("<q", granule - (link.start or 0)) + page[14:])
            patches.append((place, changed[: _CHECKSUM_OFFSET + 4]))
    return patches


def _opus_duration(page: bytes) -> int:
    """Samples at 48 kHz of the packets that end in a page and begin in it too (RFC 6716, 3.1 and 3.2)."""
    num_segments = page[26]
    place = _HEADER_BYTES + num_segments
    samples, is_whole, length = 0, not page[5] & _CONTINUED, 0
    for segment in page[_HEADER_BYTES : _HEADER_BYTES + num_segments]:
        length += segment
        if segment == 255:
            continue
        packet = page[place : place + length]
        if is_whole and packet:
            code, config = packet[0] & 3, packet[0] >> 3
            count = (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]
            samples += count * _OPUS_FRAME_SAMPLES[config]
        place, length, is_whole = place + length, 0, True
    return samples


def page_checksum(page: bytes) -> int:
    """The checksum that a whole page ought to have, whatever stands in its place (RFC 3533, 6, field 7)."""
    data = page[:_CHECKSUM_OFFSET] + bytes(4) + page[_CHECKSUM_OFFSET + 4 :]
    # zlib inverts the register before and after; Ogg does neither.
    reversed_sum = zlib.crc32(data.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_sum.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


def _pages(file: BinaryIO, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yields each page's place and bytes, up to `end`, or to where no page follows any more."""
    data, base, at, is_end = b"", begin, 0, False
    while base + at != end:
        if len(data) - at < _MAX_PAGE_BYTES and not is_end:
            file.seek(base + len(data))  # others read in between
            more = file.read(_READ_BYTES)
            data, base, at, is_end = data[at:] + more, base + at, 0, not more
            continue
        length = _page_bytes(data, at)
        if not length:
            break
        yield base + at, data[at : at + length]
        at += length
    # A tag may stand behind the last page. Beginnings of pages there mean that one is damaged, or cut off.
    place = base + at
    file.seek(base + len(data))
    rest = data[at:] if end is None else b""
    while rest:
        if b"OggS" in rest:
            raise ClipError(Reason.CORRUPT, f"the Ogg page at byte {place} is damaged or cut off")
        more = file.read(_READ_BYTES)
        rest = rest[-3:] + more if more else b""


def _page_bytes(data: bytes, at: int) -> int:
    """Length of the sound page that begins here, or 0."""
    if data[at : at + 4] != b"OggS" or len(data) - at < _HEADER_BYTES:
        return 0
    num_segments = data[at + 26]
    length = _HEADER_BYTES + num_segments + sum(data[at + _HEADER_BYTES : at + _HEADER_BYTES + num_segments])
    page = data[at : at + length]
    if len(page) < length or page[4]:
        return 0
    return length if page_checksum(page) == _PAGE.unpack_from(page)[-1] else 0
