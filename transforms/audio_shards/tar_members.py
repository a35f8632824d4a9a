"""Reads the members of a tar archive as a stream.

This module uses `tarfile` to parse headers, but not to iterate over members. `tarfile` treats a damaged
header, or a cut between members, as the end of the archive. It also keeps every member in memory, reads long
names of any length, and follows chains of them by recursion.
"""

import enum
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from transforms.audio_shards.items import ShardFault
from transforms.audio_shards.stream import ByteStream
from transforms.errors import Reason

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_EXTENDED_BYTES = 1 << 20  # limit of an extended header; names are far shorter
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# Types that are not files: folders, global attributes, GNU volume labels and GNU lists of folders.
_NO_FILES = (tarfile.DIRTYPE, tarfile.XGLTYPE, b"V", b"D")
# Types with data. After a header of any other known type, such as a link, the next header follows directly,
# even if the header has a size.
_HAS_DATA = (*tarfile.REGULAR_TYPES, *_EXTENDED, tarfile.XGLTYPE)


class Kind(enum.Enum):
    """The type of a member; the value is its name in messages."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    SPECIAL = "device, pipe or part of a file"


@dataclass(frozen=True)
class Member:
    """A member of the archive other than a folder. A regular file's `size` bytes are next in the stream."""

    offset: int  # of its first header, which may be an extended one
    name: str  # path with "/"; bytes that are not UTF-8 become surrogates
    size: int  # in bytes; 0 unless it is a regular file
    kind: Kind = Kind.FILE
    target: str = ""  # of a link, as stored in the archive


def read_header(block: bytes) -> tarfile.TarInfo | None:
    """Parse a header of any tar format; None if the 512 bytes are not one (such as the zeros at the end)."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return header if header.size >= 0 else None


def read_members(stream: ByteStream) -> Iterator[Member | ShardFault]:
    """Yield all members except folders, in the order of the archive.

    A damaged header yields one `bad_record`; reading continues at the next block that is a header. If the
    archive is cut off or lacks its end marker (two blocks of zeros; one is tolerated), the last item is a
    `truncated_shard`. Concatenated archives are read as one.
    """
    extended = _Extended()
    for found in _read_headers(stream):
        if isinstance(found, ShardFault):
            yield found
            extended = _Extended()
            continue
        offset, header, block = found
        if extended.start is not None and extended.end != offset:
            yield ShardFault(extended.start, Reason.BAD_RECORD, "an extended header has no member")
            extended = _Extended()
        start = offset if extended.start is None else extended.start
        has_data = header.type in _HAS_DATA or header.type not in tarfile.SUPPORTED_TYPES
        size = header.size if has_data else 0
        if header.type in _EXTENDED:
            data = stream.read(min(size, _EXTENDED_BYTES))
            attributes = _parse_extended(header.type, data) if len(data) == size else None
            end = offset + _BLOCK + size
            extended.start, extended.end = start, end + -end % _BLOCK
            extended.attributes |= attributes or {}
            extended.is_damaged |= attributes is None
        else:
            size = int(extended.attributes.get("size", size)) if has_data else 0
            _skip_sparse_headers(stream, header, block)
            end = stream.position + size
            if header.type not in _NO_FILES:
                yield _member(start, header, size, extended)
            extended = _Extended()
        if not stream.skip(end + -end % _BLOCK - stream.position):
            yield _truncated(start, stream, f"in the member {header.name!a}")
            return


@dataclass
class _Extended:
    """What extended headers state about the next member."""

    start: int | None = None  # offset of the first extended header
    end: int = 0  # offset at which the member's own header must begin
    attributes: dict[str, str] = field(default_factory=dict)  # POSIX name -> value
    is_damaged: bool = False  # a header is damaged, so the member's name is unknown


def _member(start: int, header: tarfile.TarInfo, size: int, extended: _Extended) -> Member | ShardFault:
    name = extended.attributes.get("path", header.name)
    if extended.is_damaged:
        message = "the extended header is damaged, so the member's name is unknown"
        return ShardFault(start, Reason.BAD_RECORD, message)
    is_sparse = any(key.startswith("GNU.sparse") for key in extended.attributes)
    if is_sparse or header.type == tarfile.GNUTYPE_SPARSE:
        message = f"{name!a} is a sparse file; pack it without --sparse"
        return ShardFault(start, Reason.BAD_RECORD, message)
    if header.type in tarfile.REGULAR_TYPES:
        return Member(start, name, size)
    links = {tarfile.LNKTYPE: Kind.HARD_LINK, tarfile.SYMTYPE: Kind.SYMBOLIC_LINK}
    kind = links.get(header.type, Kind.SPECIAL)
    return Member(start, name, 0, kind, extended.attributes.get("linkpath", header.linkname))


def _read_headers(stream: ByteStream) -> Iterator[tuple[int, tarfile.TarInfo, bytes] | ShardFault]:
    """Yield (offset, header, its block). The caller reads or skips a header's data before the next one."""
    zeros = 0
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        offset = stream.position - _BLOCK
        if block == _ZEROS:
            zeros += 1
            continue
        header = read_header(block)
        if header is None:
            block, at_end = _find_header(stream)
            header = read_header(block)
            if header is None and not at_end:
                yield _truncated(offset, stream, f"the header at {offset} is damaged, and no other follows")
                return
            resumed = f"; reading continues at byte {stream.position - _BLOCK}" if header else ""
            yield ShardFault(offset, Reason.BAD_RECORD, f"the header is damaged{resumed}")
            if header is None:
                return
            offset = stream.position - _BLOCK
        zeros = 0
        yield offset, header, block
    # Less than a block after the end marker is padding. Without a marker it is the beginning of a header.
    if not zeros or stream.damage:
        yield _truncated(stream.position - len(block), stream, "between two members")


def _find_header(stream: ByteStream) -> tuple[bytes, bool]:
    """Return (the next block that is a header, False) or (b"", whether the stream has an end marker)."""
    zeros = 0
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        # Most skipped blocks are audio. Checking for a checksum field (six octal digits) first avoids the
        # expensive computation of the checksum.
        if block[148:154].strip(b" 01234567") == b"" and read_header(block):
            return block, False
        zeros = zeros + 1 if block == _ZEROS else 0
    return b"", zeros >= 2 and not block and not stream.damage


def _parse_extended(kind: bytes, data: bytes) -> dict[str, str] | None:
    """Parse an extended header: POSIX name -> value for the next member; None if it is damaged."""
    if kind in (tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_LONGNAME):
        attribute = "path" if kind == tarfile.GNUTYPE_LONGNAME else "linkpath"
        return {attribute: data.split(b"\0", 1)[0].decode(errors="surrogateescape")}
    attributes = {}
    position = 0
    data = data.rstrip(b"\0")
    while position < len(data):
        match = _PAX_RECORD.match(data, position)
        end = position + int(match[1]) if match else 0
        if not match or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            return None
        name, value = match[2], data[match.end() : end - 1]
        attributes[name.decode(errors="surrogateescape")] = value.decode(errors="surrogateescape")
        position = end
    if not attributes.get("size", "0").isdecimal() or len(attributes.get("size", "")) > 20:
        return None
    return attributes


def _skip_sparse_headers(stream: ByteStream, header: tarfile.TarInfo, block: bytes) -> None:
    """Skip the blocks that list the holes of an old GNU sparse file, before its data."""
    more = header.type == tarfile.GNUTYPE_SPARSE and block[482:483] != b"\0"
    while more:
        block = stream.read(_BLOCK)
        more = block[504:505] not in (b"\0", b"")


def _truncated(offset: int, stream: ByteStream, where: str) -> ShardFault:
    cause = stream.damage or "the shard is cut off"
    message = f"{cause}: it ends at byte {stream.position}, {where}"
    return ShardFault(offset, Reason.TRUNCATED_SHARD, message)
