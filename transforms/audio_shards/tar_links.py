"""Samples of a tar whose audio is a link to another member: read last, in a reading of their own."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault
from transforms.audio_shards.marks import AUDIO_EXTENSIONS, HEAD_BYTES, looks_like_audio
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_members import Member, read_members
from transforms.audio_shards.tar_names import kind_of, normal_path, split_name
from transforms.audio_shards.tar_sample import Sample, make_clip
from transforms.audio_shards.tar_survey import MAX_KEPT_BYTES, TarSurvey, link_bytes
from transforms.errors import Reason

# What a value of JSON takes in memory, at least, beside its name.
_VALUE_BYTES = 100


class LinkedSamples:
    """Samples that wait for the audio to which their links lead.

    Args:
      columns: as `parse_columns` returns.

    Attributes:
      samples: those that wait.
    """

    def __init__(self, columns: Mapping[str, str]):
        self.samples: list[Sample] = []
        self._columns = columns
        self._kept_bytes = 0

    def add(self, sample: Sample) -> Iterator[ShardFault]:
        """Keeps a sample with a link, or yields why it cannot be kept."""
        assert sample.link is not None
        names = self._columns.values()
        values = sample.values and {name: value for name, value in sample.values.items() if name in names}
        size = link_bytes(sample.link) + sum(map(_value_bytes, (values or {}).values()))
        sample = replace(sample, offset=sample.link.offset, name=sample.link.name, values=values)
        if self._kept_bytes + size > MAX_KEPT_BYTES:
            yield _fault(sample, "the archive has more links than can be followed; divide it")
            return
        self._kept_bytes += size
        self.samples.append(sample)

    def faults(self, message: str) -> Iterator[ShardFault]:
        """Rejects all that wait."""
        for sample in self.samples:
            yield _fault(sample, message)

    def clips(self, file: BinaryIO, survey: TarSurvey) -> Iterator[ShardClip | ShardFault]:
        """Yields the clips of all samples, in the order of their links' targets.

        Args:
          file: the archive, at its start.
          survey: of the archive.
        """
        wanted: dict[int, list[tuple[Sample, str]]] = defaultdict(list)
        for sample in self.samples:
            target = survey.find_target(sample.link) if sample.link else None
            if target is None:
                yield _fault(sample, "no file of the archive; pack what it links to (tar -h)")
            else:
                wanted[target[0]].append((sample, target[1]))
        stream = ByteStream(file)
        for member in read_members(stream) if wanted else ():
            if isinstance(member, Member) and member.offset in wanted:
                yield from self._clips_of(member, wanted.pop(member.offset), stream)
            if not wanted:
                return
        for sample, _ in [waiting for samples in wanted.values() for waiting in samples]:
            yield _fault(sample, f"in the part of the shard that cannot be read ({stream.damage})")

    def _clips_of(
        self, member: Member, samples: list[tuple[Sample, str]], stream: ByteStream
    ) -> Iterator[ShardClip | ShardFault]:
        """Yields the clips of a file of the archive, for each link to it."""
        is_audio = _has_audio_extension(member) or looks_like_audio(stream.peek(HEAD_BYTES))
        audio = b""
        if member.size <= MAX_AUDIO_BYTES and (
            is_audio or any(sample.has_audio_link for sample, _ in samples)
        ):
            audio = stream.read(member.size)
        for sample, path in samples:
            if normal_path(member.name) != path:  # two names with one hash
                yield _fault(sample, "no file of the archive; pack what it links to (tar -h)")
            elif member.size > MAX_AUDIO_BYTES:
                yield _fault(sample, f"a file of {member.size} bytes, more than {MAX_AUDIO_BYTES}")
            elif not is_audio and not sample.has_audio_link:
                if split_name(sample.name)[2]:  # as a file without extension that is no audio
                    yield _fault(sample, "no audio, and none of its key's files is")
            elif len(audio) < member.size:
                yield _fault(sample, f"in the part of the shard that cannot be read ({stream.damage})")
            else:
                yield make_clip(sample, audio, self._columns)


def _has_audio_extension(member: Member) -> bool:
    return kind_of(split_name(member.name)[2]) in AUDIO_EXTENSIONS


def _fault(sample: Sample, what: str) -> ShardFault:
    link = sample.link
    assert link is not None
    message = f"{link.name[:200]!a} is a {link.kind.value} to {link.target[:200]!a}: {what}"
    return ShardFault(sample.offset, Reason.BAD_RECORD, message, sample.shown)


def _value_bytes(value: object) -> int:
    if isinstance(value, (list, dict)):
        return _VALUE_BYTES + sum(map(_value_bytes, value))
    return _VALUE_BYTES + (len(value) if isinstance(value, str) else 0)
