"""Check that an Ogg file has all of its pages, and find the links of a chained file (RFC 3533)."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from transforms.audio.parsers.spliced_file import ByteRange, Link, patched
from transforms.errors import ClipError, Reason

_HEADER_BYTES = 27
_MAX_PAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255
_READ_BYTES = 1 << 20
_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page
_CODECS = (b"OpusHead", b"\x01vorbis")
# OpusHead has after its magic: version, channels, pre-skip, input rate (RFC 7845, 5.1).
_OPUS_RATE_OFFSET = 12
_OPUS_RATE_HZ = 48_000
# Samples per frame at 48 kHz, by a packet's configuration: SILK, hybrid, CELT (RFC 6716, table 2).
_OPUS_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
# Magic, version, flags, granule position, serial number, sequence number, checksum (RFC 3533, 6).
_PAGE = struct.Struct("<4sBBqIII")
_CHECKSUM_OFFSET = 22
# The checksum is a CRC-32 with zlib's polynomial, but it starts from the highest bit of each byte.
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _OpenLink:
    """A link of the chain whose pages are being read."""

    begin: int  # offset in the file
    first_page: bytes  # with the codec's header
    # Serial number of each stream -> sequence number of its next page.
    next_numbers: dict[int, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)  # serial numbers of streams without a last page so far
    has_data: bool = False  # a page other than a first page was read
    start: int | None = None  # for Opus: the granule position at which the first packet begins


def ogg_links(file: BinaryIO) -> list[Link]:
    """Read every page of an Ogg file once, and return the links of its chain.

    OpusHead's input rate only describes the source (RFC 7845, 5.1), but libsndfile would decode at that rate.
    So libsndfile gets a header with 48 kHz.

    Args:
      file: seekable, open in binary mode, beginning with `OggS`.

    Raises:
      ClipError: CORRUPT if a page is damaged, cut off or missing by the sequence numbers, or if a stream has
        no last page; NOT_AUDIO if a link is not a single Vorbis or Opus stream, as libsndfile requires.
    """
    size = file.seek(0, os.SEEK_END)
    links = []
    current = None
    end = 0
    for begin, page in _pages(file):
        _, _, flags, granule, serial, number, _ = _PAGE.unpack_from(page)
        if flags & _FIRST:
            if current is not None and current.has_data:
                links.append(_close_link(file, current, end, size))
                current = None
            current = current or _OpenLink(begin, page)
            current.unfinished.add(serial)
        elif current is None or serial not in current.next_numbers:
            message = f"the page at byte {begin} is of an Ogg stream without a first page"
            raise ClipError(Reason.CORRUPT, message)
        else:
            current.has_data = True
            expected = current.next_numbers[serial]
            if number != expected:
                message = f"Ogg pages are lost before byte {begin}: number {number}, expected {expected}"
                raise ClipError(Reason.CORRUPT, message)
        current.next_numbers[serial] = (number + 1) & 0xFFFFFFFF
        if granule > 0 and current.start is None and not flags & _FIRST:
            current.start = max(granule - _opus_duration(page), 0)
        if flags & _LAST:
            current.unfinished.discard(serial)
        end = begin + len(page)
    if current is not None:
        links.append(_close_link(file, current, end, size))
    return links


def _close_link(file: BinaryIO, link: _OpenLink, end: int, size: int) -> Link:
    if link.unfinished:
        raise ClipError(Reason.CORRUPT, f"the Ogg stream ends at byte {end} without its last page")
    header = link.first_page[_HEADER_BYTES + link.first_page[26] :]
    if len(link.next_numbers) > 1 or not header.startswith(_CODECS):
        raise ClipError(Reason.NOT_AUDIO, "an Ogg file that is not one stream of Vorbis or Opus")
    if header.startswith(b"OpusHead"):
        patches = []
        rate = struct.pack("<I", _OPUS_RATE_HZ)
        if header[_OPUS_RATE_OFFSET : _OPUS_RATE_OFFSET + 4] != rate:
            page, offset = link.first_page, len(link.first_page) - len(header) + _OPUS_RATE_OFFSET
            patches.append((link.begin, _with_checksum(page[:offset] + rate + page[offset + 4 :])))
        if link.start:
            patches += _shift_to_zero(file, link, end)
        if patches:
            return Link(patched(link.begin, end, patches))
    if (link.begin, end) == (0, size):
        return Link()
    return Link([ByteRange(link.begin, end)])


def _with_checksum(page: bytes) -> bytes:
    return page[:_CHECKSUM_OFFSET] + struct.pack("<I", page_checksum(page)) + page[_CHECKSUM_OFFSET + 4 :]


def _shift_to_zero(file: BinaryIO, link: _OpenLink, end: int) -> list[tuple[int, bytes]]:
    """Return patches that let a stream begin at granule position 0.

    For a later beginning, libsndfile plays the pre-skip too, and drops as many samples at the end.
    """
    patches = []
    for offset, page in _pages(file, link.begin, end):
        _, _, flags, granule, *_ = _PAGE.unpack_from(page)
        if granule > 0 and not flags & _FIRST:
            changed = _with_checksum(page[:6] + struct.pack("<q", granule - (link.start or 0)) + page[14:])
            patches.append((offset, changed[: _CHECKSUM_OFFSET + 4]))
    return patches


def _opus_duration(page: bytes) -> int:
    """Samples at 48 kHz of the packets that both begin and end in a page (RFC 6716, 3.1 and 3.2)."""
    num_segments = page[26]
    offset = _HEADER_BYTES + num_segments
    samples, is_whole, length = 0, not page[5] & _CONTINUED, 0
    for segment in page[_HEADER_BYTES : _HEADER_BYTES + num_segments]:
        length += segment
        if segment == 255:
            continue
        packet = page[offset : offset + length]
        if is_whole and packet:
            code, config = packet[0] & 3, packet[0] >> 3
            count = (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]
            samples += count * _OPUS_FRAME_SAMPLES[config]
        offset, length, is_whole = offset + length, 0, True
    return samples


def page_checksum(page: bytes) -> int:
    """Compute the checksum of a page, ignoring the checksum field itself (RFC 3533, 6, field 7)."""
    data = page[:_CHECKSUM_OFFSET] + bytes(4) + page[_CHECKSUM_OFFSET + 4 :]
    # zlib inverts the register before and after; Ogg does not.
    reversed_sum = zlib.crc32(data.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_sum.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


def _pages(file: BinaryIO, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield each page's offset and bytes, up to `end` or up to the first bytes that are not a page."""
    data, base, at, is_end = b"", begin, 0, False
    while base + at != end:
        if len(data) - at < _MAX_PAGE_BYTES and not is_end:
            file.seek(base + len(data))  # the caller may have moved the file
            more = file.read(_READ_BYTES)
            data, base, at, is_end = data[at:] + more, base + at, 0, not more
            continue
        length = _page_bytes(data, at)
        if not length:
            break
        yield base + at, data[at : at + length]
        at += length
    # A tag may follow the last page. If a page header follows there, that page is damaged or cut off.
    offset = base + at
    file.seek(base + len(data))
    rest = data[at:] if end is None else b""
    while rest:
        if b"OggS" in rest:
            raise ClipError(Reason.CORRUPT, f"the Ogg page at byte {offset} is damaged or cut off")
        more = file.read(_READ_BYTES)
        rest = rest[-3:] + more if more else b""


def _page_bytes(data: bytes, at: int) -> int:
    """Return the length of the intact page that begins here, or 0."""
    if data[at : at + 4] != b"OggS" or len(data) - at < _HEADER_BYTES:
        return 0
    num_segments = data[at + 26]
    length = _HEADER_BYTES + num_segments + sum(data[at + _HEADER_BYTES : at + _HEADER_BYTES + num_segments])
    page = data[at : at + length]
    if len(page) < length or page[4]:
        return 0
    return length if page_checksum(page) == _PAGE.unpack_from(page)[-1] else 0
