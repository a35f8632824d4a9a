"""What a tar holds as a whole, found by a reading of its own: where links lead, and which keys have a JSON.

A stream cannot tell: a symbolic link may stand before its target, and a JSON long after its audio. The survey
takes 24 bytes per member, whatever its size, and is made only where a shard needs it.
"""

from array import array
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from transforms.audio_shards.items import ShardFault
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_names import normal_path, split_name, target_path

# 100 MB at 24 bytes each: no shard comes near, and a small packed one can hold any number.
_MAX_MEMBERS = 1 << 22
# Of links kept for the end, with their names and what their samples' JSON says.
MAX_KEPT_BYTES = 1 << 27
# A chain of links longer than any file system follows is a circle.
_MAX_HOPS = 40
_LINK_BYTES = 500


class TarSurvey:
    """The names in a tar.

    Names are kept as their hashes of 64 bits, which one process tells apart; what is read by them is checked.

    Args:
      file: the archive, seekable; left where it was.
      start: where it begins in the file.

    Attributes:
      is_whole: whether all its members were looked at; else it has too many.
    """

    def __init__(self, file: BinaryIO, start: int):
        self.is_whole = True
        self._links: dict[int, list[Member]] = {}
        hashes, offsets, json_keys = array("q"), array("q"), array("q")
        kept_bytes = 0
        before = file.tell()
        file.seek(start)
        for member in members_of(file):
            if len(hashes) + len(json_keys) >= _MAX_MEMBERS or kept_bytes > MAX_KEPT_BYTES:
                self.is_whole = False
                break
            if member.kind is Kind.FILE:
                hashes.append(hash(normal_path(member.name)))
                offsets.append(member.offset)
            elif member.kind is not Kind.SPECIAL:
                self._links.setdefault(hash(normal_path(member.name)), []).append(member)
                kept_bytes += link_bytes(member)
            key, _, extension = split_name(member.name)
            if extension == "json":
                json_keys.append(hash(key))
        file.seek(before)
        order = (
            np.argsort(np.frombuffer(hashes, np.int64), kind="stable") if hashes else np.empty(0, np.int64)
        )
        self._hashes = np.array(hashes, np.int64)[order]
        self._offsets = np.array(offsets, np.int64)[order]
        self._json_keys = np.unique(np.array(json_keys, np.int64))

    def has_json(self, key: str) -> bool:
        """Whether a JSON of this key stands anywhere in the archive."""
        wanted = hash(key)
        place = np.searchsorted(self._json_keys, wanted)
        return bool(place < len(self._json_keys) and self._json_keys[place] == wanted)

    def find_target(self, link: Member) -> tuple[int, str] | None:
        """(offset, path) of the file that a link leads to; None if it leads to no file of the archive.

        Of several members with that name a hard link means the last one before itself, as it was when the
        archive was made, and a symbolic link the last of all, as it is when all are unpacked.
        """
        for _ in range(_MAX_HOPS):
            is_symbolic = link.kind is Kind.SYMBOLIC_LINK
            path = target_path(link.name, link.target, is_symbolic)
            end = np.iinfo(np.int64).max if is_symbolic else link.offset
            wanted = hash(path)
            first, last = np.searchsorted(self._hashes, [wanted, wanted + 1])
            places: list[tuple[int, Member | None]] = [
                *((int(offset), None) for offset in self._offsets[first:last]),
                *((other.offset, other) for other in self._links.get(wanted, [])),
            ]
            places = [place for place in places if place[0] < end]
            if not places:
                return None
            offset, other = max(places, key=lambda place: place[0])
            if other is None:
                return offset, path
            link = other
        return None


def members_of(file: BinaryIO) -> Iterator[Member]:
    """Yields the members of an archive without what is wrong with it."""
    for member in read_members(ByteStream(file)):
        if not isinstance(member, ShardFault):
            yield member


def link_bytes(link: Member) -> int:
    """About the memory that a link takes."""
    return _LINK_BYTES + 2 * (len(link.name) + len(link.target))
