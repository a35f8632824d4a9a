"""What needs more passes over a tar: its links, and a JSON that is not next to its audio.

In a stream a symbolic link may precede its target, and a JSON may come long after its audio. So one more pass
builds an index, only for shards that need it, and another one reads the targets of links.
"""

import itertools
import posixpath
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault
from transforms.audio_shards.signatures import HEAD_BYTES, is_audio_extension, looks_like_audio
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_sample import Sample, make_clip, split_name
from transforms.errors import Reason

# 100 MB at 24 bytes each. Real shards have far fewer; a small compressed shard could contain any number.
_MAX_MEMBERS = 1 << 22
# Memory for the links of the index, and for the samples that wait for the targets of their links.
_MAX_INDEX_BYTES = _MAX_KEPT_BYTES = 1 << 27
# No file system follows a longer chain of links; such a chain is a cycle.
_MAX_HOPS = 40
_LINK_BYTES = 500
# Minimum memory of a JSON value, besides its name.
_VALUE_BYTES = 100
_NOT_IN_ARCHIVE = "the archive does not contain it; pack the file itself (tar -h)"


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
            if len(hashes) + len(json_keys) >= _MAX_MEMBERS or kept_bytes > _MAX_INDEX_BYTES:
                self.is_whole = False
                break
            if member.kind is Kind.FILE:
                hashes.append(_path_hash(member.name))
                offsets.append(member.offset)
            elif member.kind is not Kind.SPECIAL:
                self._links.setdefault(_path_hash(member.name), []).append(member)
                kept_bytes += _link_bytes(member)
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


class LinkedSamples:
    """Collects `samples` with links until the audio that the links lead to can be read."""

    def __init__(self, columns: Mapping[str, str]):
        self.samples: list[Sample] = []
        self._columns = columns
        self._kept_bytes = 0

    def add(self, sample: Sample) -> Iterator[ShardFault]:
        """Add a sample with a link; yield a fault if there is no memory for it."""
        assert sample.link is not None
        names = self._columns.values()
        values = sample.values and {name: value for name, value in sample.values.items() if name in names}
        size = _link_bytes(sample.link) + sum(map(_value_bytes, (values or {}).values()))
        sample = replace(sample, offset=sample.link.offset, name=sample.link.name, values=values)
        if self._kept_bytes + size > _MAX_KEPT_BYTES:
            yield _fault(sample, "the archive has more links than can be followed; split it")
            return
        self._kept_bytes += size
        self.samples.append(sample)

    def reject_all(self, message: str) -> Iterator[ShardFault]:
        """Yield a fault for each collected sample."""
        for sample in self.samples:
            yield _fault(sample, message)

    def clips(self, file: BinaryIO, index: TarIndex) -> Iterator[ShardClip | ShardFault]:
        """Yield the clips of all samples from the archive, open at its start, in the order of targets."""
        wanted: dict[int, list[tuple[Sample, str]]] = defaultdict(list)
        for sample in self.samples:
            target = index.find_target(sample.link) if sample.link else None
            if target is None:
                yield _fault(sample, _NOT_IN_ARCHIVE)
            else:
                wanted[target[0]].append((sample, target[1]))
        stream = ByteStream(file)
        for member in read_members(stream) if wanted else ():
            if isinstance(member, Member) and member.offset in wanted:
                yield from self._clips_of(member, wanted.pop(member.offset), stream)
            if not wanted:
                return
        for sample, _ in itertools.chain(*wanted.values()):
            yield _fault(sample, _unreadable(stream))

    def _clips_of(
        self, member: Member, samples: list[tuple[Sample, str]], stream: ByteStream
    ) -> Iterator[ShardClip | ShardFault]:
        """Yield one clip for each link to a file of the archive."""
        _, _, extension = split_name(member.name)
        is_audio = is_audio_extension(extension) or looks_like_audio(stream.peek(HEAD_BYTES))
        audio = b""
        is_wanted = is_audio or any(sample.has_audio_link for sample, _ in samples)
        if is_wanted and member.size <= MAX_AUDIO_BYTES:
            audio = stream.read(member.size)
        for sample, path in samples:
            if posixpath.normpath(member.name) != path:  # the hashes of two names collide
                yield _fault(sample, _NOT_IN_ARCHIVE)
            elif member.size > MAX_AUDIO_BYTES:
                yield _fault(sample, f"the file has {member.size} bytes, more than {MAX_AUDIO_BYTES}")
            elif not is_audio and not sample.has_audio_link:
                # A link without an extension is ignored, like a file without an extension that is not audio.
                if split_name(sample.name)[2]:
                    yield _fault(sample, "it is not audio, nor is any other file of its key")
            elif len(audio) < member.size:
                yield _fault(sample, _unreadable(stream))
            else:
                yield make_clip(sample, audio, self._columns)


def _unreadable(stream: ByteStream) -> str:
    return f"it is in the part of the shard that cannot be read ({stream.damage})"


def _fault(sample: Sample, what: str) -> ShardFault:
    link = sample.link
    assert link is not None
    message = f"{link.name[:200]!a} is a {link.kind.value} to {link.target[:200]!a}: {what}"
    return ShardFault(sample.offset, Reason.BAD_RECORD, message, sample.display_name)


def _value_bytes(value: object) -> int:
    if isinstance(value, (list, dict)):
        return _VALUE_BYTES + sum(map(_value_bytes, value))
    return _VALUE_BYTES + (len(value) if isinstance(value, str) else 0)


def _path_hash(name: str) -> int:
    """Return the hash of a member's path in one spelling: "a/b" for "./a//b"."""
    return hash(posixpath.normpath(name))


def _link_bytes(link: Member) -> int:
    """Estimate the memory that a link takes."""
    return _LINK_BYTES + 2 * (len(link.name) + len(link.target))
