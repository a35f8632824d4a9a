"""An index of a whole tar: the targets of links, and the keys that have a JSON.

It takes a pass over the tar, because in a stream a symbolic link may precede its target, and a JSON may come
long after its audio. The index takes 24 bytes per member and is built only for shards that need it.
"""

import posixpath
from array import array
from typing import BinaryIO

import numpy as np

from transforms.audio_shards.items import ShardFault
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_sample import split_name

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
        for member in read_members(ByteStream(file)):
            if isinstance(member, ShardFault):
                continue
            if len(hashes) + len(json_keys) >= _MAX_MEMBERS or kept_bytes > MAX_KEPT_BYTES:
                self.is_whole = False
                break
            if member.kind is Kind.FILE:
                hashes.append(_path_hash(member.name))
                offsets.append(member.offset)
            elif member.kind is not Kind.SPECIAL:
                self._links.setdefault(_path_hash(member.name), []).append(member)
                kept_bytes += link_bytes(member)
            key, _, extension = split_name(member.name)
            if extension == "json":
                json_keys.append(hash(key))
        file.seek(before)
        order = np.argsort(np.array(hashes, np.int64), kind="stable")
        self._hashes = np.array(hashes, np.int64)[order]
        self._offsets = np.array(offsets, np.int64)[order]
        self._json_keys = np.unique(np.array(json_keys, np.int64))

    def has_json(self, key: str) -> bool:
        """Return whether the archive contains a JSON with this key."""
        first, last = np.searchsorted(self._json_keys, [hash(key), hash(key) + 1])
        return bool(first < last)

    def find_target(self, link: Member) -> tuple[int, str] | None:
        """Return (offset, path) of the file that a link leads to; None if the archive does not contain it.

        If several members have the target's name, a hard link means the last one before itself, which existed
        when the archive was made. A symbolic link means the last of all, which remains after extraction. Its
        target is relative to the link's folder, that of a hard link to the archive. A target outside of the
        archive ("../x", "/x") matches only a member with that name.
        """
        for _ in range(_MAX_HOPS):
            is_symbolic = link.kind is Kind.SYMBOLIC_LINK
            folder = posixpath.dirname(link.name) if is_symbolic else ""
            path = posixpath.normpath(posixpath.join(folder, link.target))
            end = np.iinfo(np.int64).max if is_symbolic else link.offset
            first, last = np.searchsorted(self._hashes, [hash(path), hash(path) + 1])
            candidates: dict[int, Member | None] = dict.fromkeys(map(int, self._offsets[first:last]))
            candidates |= {other.offset: other for other in self._links.get(hash(path), [])}
            offset = max((offset for offset in candidates if offset < end), default=None)
            if offset is None:
                return None
            other = candidates[offset]
            if other is None:
                return offset, path
            link = other
        return None


def _path_hash(name: str) -> int:
    """Return the hash of a member's path in one spelling: "a/b" for "./a//b"."""
    return hash(posixpath.normpath(name))


def link_bytes(link: Member) -> int:
    """Estimate the memory that a link takes."""
    return _LINK_BYTES + 2 * (len(link.name) + len(link.target))
