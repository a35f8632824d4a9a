"""An index of a whole tar: the targets of links, and the keys that have a JSON.

It takes a pass over the tar, because in a stream a symbolic link may precede its target, and a JSON may come
long after its audio. The index takes 24 bytes per member and is built only for shards that need it.
"""

from array import array
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from transforms.audio_shards.items import ShardFault
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_names import normal_path, split_name, target_path

# 100 MB at 24 bytes each. Real shards have far fewer; a small compressed shard could contain any number.
_MAX_MEMBERS = 1 << 22
# Memory for the links that are kept until the end, with their names and the JSON values of their samples.
MAX_KEPT_BYTES = 1 << 27
# No file system follows a longer chain of links; such a chain is a cycle.
_MAX_HOPS = 40
_LINK_BYTES = 500


class TarIndex:
    """The names in a tar.

    Names are stored as 64-bit hashes. Hashes can collide, so the caller compares the name of the member that
    it reads.

    Args:
      file: the archive, seekable; its position is restored.
      start: position of the archive in the file.

    Attributes:
      is_whole: whether the index covers all members; False if there are too many.
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
        """Return whether the archive contains a JSON with this key."""
        wanted = hash(key)
        index = np.searchsorted(self._json_keys, wanted)
        return bool(index < len(self._json_keys) and self._json_keys[index] == wanted)

    def find_target(self, link: Member) -> tuple[int, str] | None:
        """Return (offset, path) of the file that a link leads to; None if the archive does not contain it.

        If several members have the target's name, a hard link means the last one before itself, which existed
        when the archive was made. A symbolic link means the last of all, which remains after extraction.
        """
        for _ in range(_MAX_HOPS):
            is_symbolic = link.kind is Kind.SYMBOLIC_LINK
            path = target_path(link.name, link.target, is_symbolic)
            end = np.iinfo(np.int64).max if is_symbolic else link.offset
            wanted = hash(path)
            first, last = np.searchsorted(self._hashes, [wanted, wanted + 1])
            candidates: list[tuple[int, Member | None]] = [
                *((int(offset), None) for offset in self._offsets[first:last]),
                *((other.offset, other) for other in self._links.get(wanted, [])),
            ]
            candidates = [candidate for candidate in candidates if candidate[0] < end]
            if not candidates:
                return None
            offset, other = max(candidates, key=lambda candidate: candidate[0])
            if other is None:
                return offset, path
            link = other
        return None


def members_of(file: BinaryIO) -> Iterator[Member]:
    """Yield the members of an archive, skipping faults."""
    for member in read_members(ByteStream(file)):
        if not isinstance(member, ShardFault):
            yield member


def link_bytes(link: Member) -> int:
    """Estimate the memory that a link takes."""
    return _LINK_BYTES + 2 * (len(link.name) + len(link.target))
