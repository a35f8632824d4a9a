"""Reads the samples of a tar whose audio is a link to another member, in an additional pass at the end."""

import itertools
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault
from transforms.audio_shards.signatures import HEAD_BYTES, is_audio_extension, looks_like_audio
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_index import MAX_KEPT_BYTES, TarIndex, link_bytes
from transforms.audio_shards.tar_members import Member, read_members
from transforms.audio_shards.tar_sample import Sample, make_clip, split_name
from transforms.errors import Reason

# Minimum memory of a JSON value, besides its name.
_VALUE_BYTES = 100
_NOT_IN_ARCHIVE = "the archive does not contain it; pack the file itself (tar -h)"


class LinkedSamples:
    """Collects samples with links until the audio that the links lead to can be read.

    Args:
      columns: as `parse_columns` returns.

    Attributes:
      samples: the collected samples.
    """

    def __init__(self, columns: Mapping[str, str]):
        self.samples: list[Sample] = []
        self._columns = columns
        self._kept_bytes = 0

    def add(self, sample: Sample) -> Iterator[ShardFault]:
        """Add a sample with a link; yield a fault if there is no memory for it."""
        assert sample.link is not None
        names = self._columns.values()
        values = sample.values and {name: value for name, value in sample.values.items() if name in names}
        size = link_bytes(sample.link) + sum(map(_value_bytes, (values or {}).values()))
        sample = replace(sample, offset=sample.link.offset, name=sample.link.name, values=values)
        if self._kept_bytes + size > MAX_KEPT_BYTES:
            yield _fault(sample, "the archive has more links than can be followed; split it")
            return
        self._kept_bytes += size
        self.samples.append(sample)

    def reject_all(self, message: str) -> Iterator[ShardFault]:
        """Yield a fault for each collected sample."""
        for sample in self.samples:
            yield _fault(sample, message)

    def clips(self, file: BinaryIO, index: TarIndex) -> Iterator[ShardClip | ShardFault]:
        """Yield the clips of all samples, in the order of their links' targets.

        Args:
          file: the archive, at its start.
          index: of the archive.
        """
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
