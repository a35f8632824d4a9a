"""The members of a tar archive, read as a stream.

`tarfile` parses each header here, but does not walk: at a damaged header, or a cut between members, its
`next` says "no more members" as at the end; it keeps every member in memory, reads long names of any
length, and follows chains of them by recursion.
"""

import enum
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from transforms.audio_shards.items import ShardFault
from transforms.audio_shards.stream import ByteStream
from transforms.errors import Reason

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_EXTENDED_BYTES = 1 << 20  # names are far shorter
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")
_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# Folders, attributes of all members, and GNU's labels of volumes and lists of folders hold no file.
_NO_FILES = (tarfile.DIRTYPE, tarfile.XGLTYPE, b"V", b"D")
# What follows a header of another known type, as a link or folder, is the next header, whatever its size.
_HAS_DATA = (*tarfile.REGULAR_TYPES, *_EXTENDED, tarfile.XGLTYPE)


class Kind(enum.Enum):
    """What a member is; the value is a name for a person."""

    FILE = "file"
    HARD_LINK = "hard link"
    SYMBOLIC_LINK = "symbolic link"
    SPECIAL = "device, pipe or part of a file"


@dataclass(frozen=True)
class Member:
    """A member of the archive other than a folder. The stream gives the `size` bytes of a regular file next.

    Attributes:
      offset: of its header, extended ones included.
      name: path, with "/"; bytes that are not UTF-8 as surrogates.
      size: in bytes; 0 of all but regular files.
      kind: what it is.
      target: where a link leads, as the archive has it.
    """

    offset: int
    name: str
    size: int
    kind: Kind = Kind.FILE
    target: str = ""


def read_header(block: bytes) -> tarfile.TarInfo | None:
    """A header of any kind of tar, or None if 512 bytes are none (as the zeros at the end are)."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return header if header.size >= 0 else None


def read_members(stream: ByteStream) -> Iterator[Member | ShardFault]:
    """Yields all members but folders, in the order of the archive.

    A header that is damaged is one `bad_record`, and the next block that is a header is gone on with. Where
    the archive ends in the middle, or without an end mark (two blocks of zeros; one is tolerated), one
    `truncated_shard` is the last. Archives that were put one behind the other are read as one.
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
            extended = extended.and_then(start, end + -end % _BLOCK, attributes)
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


@dataclass(frozen=True)
class _Extended:
    """What extended headers say of the member after them.

    Attributes:
      start: offset of the first; None if there is none.
      end: where the member's own header must begin.
      attributes: by their POSIX names.
      is_damaged: so nobody knows the member's name.
    """

    start: int | None = None
    end: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_damaged: bool = False

    def and_then(self, start: int, end: int, attributes: Mapping[str, str] | None) -> "_Extended":
        is_damaged = self.is_damaged or attributes is None
        return _Extended(start, end, {**self.attributes, **(attributes or {})}, is_damaged)


def _member(start: int, header: tarfile.TarInfo, size: int, extended: _Extended) -> Member | ShardFault:
    name = extended.attributes.get("path", header.name)
    if extended.is_damaged:
        message = "the extended header is damaged, so the member's name is not known"
        return ShardFault(start, Reason.BAD_RECORD, message)
    is_sparse = any(key.startswith("GNU.sparse") for key in extended.attributes)
    if is_sparse or header.type == tarfile.GNUTYPE_SPARSE:
        message = f"{name!a} is a sparse file; pack it without --sparse"
        return ShardFault(start, Reason.BAD_RECORD, message)
    if header.type in tarfile.REGULAR_TYPES:
        return Member(start, name, size)
    kind = {tarfile.LNKTYPE: Kind.HARD_LINK, tarfile.SYMTYPE: Kind.SYMBOLIC_LINK}.get(
        header.type, Kind.SPECIAL
    )
    return Member(start, name, 0, kind, extended.attributes.get("linkpath", header.linkname))


def _read_headers(stream: ByteStream) -> Iterator[tuple[int, tarfile.TarInfo, bytes] | ShardFault]:
    """Yields (offset, header, its block), where each header's data must be read before the next."""
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
            where = f"; went on at {stream.position - _BLOCK}" if header else ""
            yield ShardFault(offset, Reason.BAD_RECORD, f"the header is damaged{where}")
            if header is None:
                return
            offset = stream.position - _BLOCK
        zeros = 0
        yield offset, header, block
    # Less than a block after the end mark is padding; without a mark it is the beginning of a header.
    if not zeros or stream.damage:
        yield _truncated(stream.position - len(block), stream, "between two members")


def _find_header(stream: ByteStream) -> tuple[bytes, bool]:
    """(the next block that is a header, False), or (b"", whether the stream ended with an end mark)."""
    zeros = 0
    while len(block := stream.read(_BLOCK)) == _BLOCK:
        # Most of what is passed over is audio, and a checksum is dear: it is six octal digits at its place.
        if block[148:154].strip(b" 01234567") == b"" and read_header(block):
            return block, False
        zeros = zeros + 1 if block == _ZEROS else 0
    return b"", zeros >= 2 and not block and not stream.damage


def _parse_extended(kind: bytes, data: bytes) -> dict[str, str] | None:
    """The attributes of the next member, by their POSIX names, or None if they are damaged."""
    if kind in (tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_LONGNAME):
        name = "path" if kind == tarfile.GNUTYPE_LONGNAME else "linkpath"
        return {name: data.split(b"\0", 1)[0].decode(errors="surrogateescape")}
    found = {}
    place = 0
    data = data.rstrip(b"\0")
    while place < len(data):
        match = _PAX_RECORD.match(data, place)
        end = place + int(match[1]) if match else 0
        if not match or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            return None
        found[match[2].decode(errors="surrogateescape")] = data[match.end() : end - 1].decode(
            errors="surrogateescape"
        )
        place = end
    if not found.get("size", "0").isdecimal() or len(found.get("size", "")) > 20:
        return None
    return found


def _skip_sparse_headers(stream: ByteStream, header: tarfile.TarInfo, block: bytes) -> None:
    """Old GNU sparse files have blocks of holes before their data."""
    more = header.type == tarfile.GNUTYPE_SPARSE and block[482:483] != b"\0"
    while more:
        block = stream.read(_BLOCK)
        more = block[504:505] not in (b"\0", b"")


def _truncated(offset: int, stream: ByteStream, where: str) -> ShardFault:
    cause = stream.damage or "the shard is cut off"
    message = f"{cause}: it ends at byte {stream.position}, {where}"
    return ShardFault(offset, Reason.TRUNCATED_SHARD, message)
