"""Reads clips from tar archives in WebDataset's form.

Consecutive files with one key form a sample. The key is the path up to the first dot of the file name,
including folders; the extension follows that dot: `a/b.left.wav` has the key `a/b` (WebDataset's
`base_plus_ext`). Two kinds of files belong to no sample: names that begin with a dot, and names without a dot
whose content is not audio.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault
from transforms.audio_shards.signatures import HEAD_BYTES, is_audio_extension, looks_like_audio
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_links import LinkedSamples, TarIndex
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_sample import Sample, make_clip, split_name
from transforms.errors import Reason

# Parsed lists of small values take thirty times the memory of their text.
_MAX_JSON_BYTES = 1 << 22


def read_tar(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Read a shard as a stream, plain or compressed (gzip, bzip2, xz, Zstandard), with one sample in memory.

    A sample has one audio file, recognized by the last part of its extension or by its first bytes. It may
    have a `json` file: an object with the other fields. If that lacks `video_id`, the id is the key without
    its folders, which may also give the segment's times. Other files of a sample are skipped. A link stands
    for the audio of its target in the archive; nothing outside the archive is read.

    Args:
      file: open for reading in binary mode, at its start. A shard with links, or with audio that has no JSON
        next to it, is read up to three times, which needs a seekable file. In other files, links are faults,
        and a JSON apart from its audio is reported only as a JSON without audio.
      columns: as `parse_columns` returns, for the names in the JSON; `audio` is not used.

    Yields:
      One clip per sample, at its audio's offset; the clips of links come last. A `bad_record` stands for one
      of these:

      - a sample without audio, or with a JSON that is damaged or not next to the audio,
      - a second audio file of a sample,
      - a link that leads to no audio in the archive, a device or a pipe,
      - a damaged header, together with the sample that it interrupts (reading continues at the next header),
      - a sample after such damage whose JSON may be lost,
      - an archive without any sample.

      A `truncated_shard` is the last item; it also stands for the sample that it interrupts.
    """
    reader = _Reader(file, columns)
    is_empty = True
    for item in reader.items():
        is_empty = False
        yield item
    if is_empty and reader.last_name:
        message = f"none of the archive's files is audio (the last is {reader.last_name[:200]!a})"
        yield ShardFault(0, Reason.BAD_RECORD, message)


class _Reader:
    """Reads one shard.

    Attributes:
      last_name: name of the last member; "" if there was none.
    """

    def __init__(self, file: BinaryIO, columns: Mapping[str, str]):
        self._file, self._columns = file, columns
        self._start = file.tell() if file.seekable() else None
        self._stream = ByteStream(file)
        self._has_json = False  # a sample so far has one, so another sample without one may have lost it
        self._linked = LinkedSamples(columns)
        self.last_name = ""

    def items(self) -> Iterator[ShardClip | ShardFault]:
        sample = Sample("", "")
        last: list[ShardFault] = []  # yielded after the clips of links
        for member in read_members(self._stream):
            if isinstance(member, ShardFault):
                if sample.is_cut or sample.is_half(self._has_json):
                    # The damage interrupts the sample, so that one fault stands for both.
                    member = replace(member, video_id=sample.display_name)
                else:
                    yield from self._finish(sample)
                sample = Sample("", "", is_after_damage=True)
                if member.reason is Reason.TRUNCATED_SHARD:
                    last = [member]
                else:
                    yield member
                continue
            self.last_name = member.name
            key, base, extension = split_name(member.name)
            if not key or (not extension and member.kind is Kind.FILE and not self._is_audio()):
                continue
            if key != sample.key:
                yield from self._finish(sample)
                sample = Sample(key, base, is_after_damage=sample.is_after_damage and not sample.key)
            if extension == "json":
                self._has_json = True
                sample = self._with_json(sample, member)
            elif member.kind is Kind.SPECIAL:
                message = f"{member.name!a} is a {member.kind.value}, not a file"
                yield ShardFault(member.offset, Reason.BAD_RECORD, message, sample.display_name)
            elif self._is_sample_audio(member, extension):
                if sample.audio is not None or sample.has_audio_link:
                    message = f"{member.name!a} is a second audio file of its key; give each its own key"
                    yield ShardFault(member.offset, Reason.BAD_RECORD, message, sample.display_name)
                elif member.kind is Kind.FILE:
                    sample = self._with_audio(sample, member)
                else:
                    sample = replace(sample, link=member, has_audio_link=True)
            else:
                sample = sample.with_other(member)
        yield from self._finish(sample)
        index = self._index if self._linked.samples else None
        if index is not None:
            self._file.seek(self._start or 0)
            yield from self._linked.clips(self._file, index)
        else:
            yield from self._linked.reject_all(
                "links cannot be followed in a file that can be read only once"
            )
        yield from last

    def _is_audio(self) -> bool:
        return looks_like_audio(self._stream.peek(HEAD_BYTES))

    def _is_sample_audio(self, member: Member, extension: str) -> bool:
        return is_audio_extension(extension) or (
            member.kind is Kind.FILE and member.size > 0 and self._is_audio()
        )

    def _with_audio(self, sample: Sample, member: Member) -> Sample:
        sample = replace(sample, offset=member.offset, name=member.name)
        if member.size > MAX_AUDIO_BYTES:
            message = f"{member.name!a} has {member.size} bytes, more than {MAX_AUDIO_BYTES}"
            return replace(sample, audio=b"", fault=message)
        audio = self._stream.read(member.size)
        return replace(sample, audio=audio, is_cut=len(audio) < member.size)

    def _with_json(self, sample: Sample, member: Member) -> Sample:
        offset = member.offset if sample.audio is None else sample.offset
        fault = ""
        if member.kind is not Kind.FILE:
            fault = f"{member.name!a} is a {member.kind.value}; pack it as a file (tar --hard-dereference -h)"
        elif member.size > _MAX_JSON_BYTES:
            fault = f"{member.name!a} has {member.size} bytes, more than {_MAX_JSON_BYTES}"
        elif sample.values is not None:
            fault = f"{member.name!a} is a second JSON of its key"
        else:
            data = self._stream.read(member.size)
            if len(data) < member.size:
                return replace(sample, is_cut=True)
            try:
                values = json.loads(data)
                if not isinstance(values, dict):
                    raise ValueError("it is not an object")
            except (ValueError, RecursionError) as error:
                fault = f"{member.name!a} is not JSON: {error}"
        return replace(sample, offset=offset, values={} if fault else values, fault=fault or sample.fault)

    def _finish(self, sample: Sample) -> Iterator[ShardClip | ShardFault]:
        """Yield the sample's clip or fault; nothing if it is empty. A link is kept to be read later."""
        fault = sample.fault or self._fault(sample)
        if fault:
            yield ShardFault(sample.offset, Reason.BAD_RECORD, fault, sample.display_name)
        elif sample.audio is not None:
            yield make_clip(sample, sample.audio, self._columns)
        elif sample.link is not None:
            yield from self._linked.add(sample)

    def _fault(self, sample: Sample) -> str:
        if sample.audio is None and sample.link is None:
            if sample.values is not None:
                return "has a JSON but no audio file; files of one key must be consecutive"
            return f"none of its files is audio ({sample.others[0]!a})" if sample.others else ""
        if sample.is_after_damage and sample.is_half(self._has_json):
            return "follows a damaged part of the shard, in which its JSON may be lost"
        index = self._index if sample.values is None else None
        if index is not None and index.has_json(sample.key):
            return "its JSON is elsewhere in the archive, not next to it; sort the archive (tar --sort=name)"
        if index is not None and not index.is_whole:
            return "the archive has too many files to check whether its JSON is elsewhere; split it"
        return ""

    @functools.cached_property
    def _index(self) -> TarIndex | None:
        """The index, built on first use; None for a file that cannot be read twice."""
        return None if self._start is None else TarIndex(self._file, self._start)
