"""Clips of tar archives, as WebDataset packs them.

Consecutive files of one key are a sample. The key is the path up to the first dot of the file's name, folders
included; what follows that dot is the extension: `a/b.left.wav` has the key `a/b` (WebDataset's
`base_plus_ext`). Files whose name begins with a dot belong to no sample, nor do those without a dot that are
not audio.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault
from transforms.audio_shards.marks import AUDIO_EXTENSIONS, HEAD_BYTES, looks_like_audio
from transforms.audio_shards.stream import ByteStream
from transforms.audio_shards.tar_links import LinkedSamples
from transforms.audio_shards.tar_members import Kind, Member, read_members
from transforms.audio_shards.tar_names import kind_of, split_name
from transforms.audio_shards.tar_sample import Sample, make_clip
from transforms.audio_shards.tar_survey import TarSurvey
from transforms.errors import Reason

# Lists of small values take thirty times their text in memory.
_MAX_JSON_BYTES = 1 << 22


def read_tar(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Reads a shard as a stream, plain or packed (gzip, bzip2, xz, Zstandard), with one sample in memory.

    A sample has one audio file, known by the last part of its extension or by its first bytes, and may have a
    `json`: an object with the other fields. Without `video_id` in it the id is the key without its folders,
    which can name a record. Other files of a sample are passed over. A link is the audio of the file in the
    archive that it leads to; nothing outside the archive is read.

    Args:
      file: open for reading in binary mode, at its start. A shard with links, or with audio that has no JSON
        beside it, is read up to three times, for which the file must be seekable; in one that is not, links
        are faults, and a JSON apart from its audio is seen only as a JSON without audio.
      columns: as `parse_columns` returns, for the names in the JSON; `audio` is not used.

    Yields:
      A clip per sample, at its audio's offset, and those of links at the end. A `bad_record` is a sample
      without audio, or with a JSON that is damaged or stands apart from it; the second audio of a sample; a
      link that leads to no audio in the archive, a device or pipe; a damaged header, after which the next is
      searched, and with it the sample that it breaks off; a sample after such damage that may have lost its
      JSON there; and an archive of files of which none is a sample's. A `truncated_shard` is the last, and
      stands for the sample that it breaks off too.
    """
    reader = _Reader(file, columns)
    gave = False
    for item in reader.items():
        gave = True
        yield item
    if not gave and reader.last_name:
        message = f"none of the archive's files is audio (the last is {reader.last_name[:200]!a})"
        yield ShardFault(0, Reason.BAD_RECORD, message)


class _Reader:
    """One reading of a shard.

    Attributes:
      last_name: of the last member; "" where there was none.
    """

    def __init__(self, file: BinaryIO, columns: Mapping[str, str]):
        self._file, self._columns = file, columns
        self._start = file.tell() if file.seekable() else None
        self._stream = ByteStream(file)
        self._found: TarSurvey | None = None
        self._has_json = False  # some sample has one, so that another without has perhaps lost it
        self._linked = LinkedSamples(columns)
        self.last_name = ""

    def items(self) -> Iterator[ShardClip | ShardFault]:
        sample = Sample("", "")
        end: list[ShardFault] = []  # after what links give
        for member in read_members(self._stream):
            if isinstance(member, ShardFault):
                if sample.is_cut or sample.is_half(self._has_json):
                    member = replace(member, video_id=sample.shown)  # the rest of it is what is damaged
                else:
                    yield from self._finish(sample)
                sample = Sample("", "", is_after_damage=True)
                if member.reason is Reason.TRUNCATED_SHARD:
                    end = [member]
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
                yield ShardFault(member.offset, Reason.BAD_RECORD, message, sample.shown)
            elif self._is_sample_audio(member, extension):
                if sample.audio is not None or sample.has_audio_link:
                    message = f"{member.name!a} is a second audio file of its key; pack each under its own"
                    yield ShardFault(member.offset, Reason.BAD_RECORD, message, sample.shown)
                elif member.kind is Kind.FILE:
                    sample = self._with_audio(sample, member)
                else:
                    sample = replace(sample, link=member, has_audio_link=True)
            else:
                sample = sample.with_other(member)
        yield from self._finish(sample)
        survey = self._survey() if self._linked.samples else None
        if survey is not None:
            self._file.seek(self._start or 0)
            yield from self._linked.clips(self._file, survey)
        else:
            yield from self._linked.faults("the file can be read only once, and its links not followed")
        yield from end

    def _is_audio(self) -> bool:
        return looks_like_audio(self._stream.peek(HEAD_BYTES))

    def _is_sample_audio(self, member: Member, extension: str) -> bool:
        is_known = kind_of(extension) in AUDIO_EXTENSIONS
        return is_known or (member.kind is Kind.FILE and member.size > 0 and self._is_audio())

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
        if fault:
            return replace(sample, offset=offset, values={}, fault=fault)
        data = self._stream.read(member.size)
        if len(data) < member.size:
            return replace(sample, is_cut=True)
        try:
            values = json.loads(data)
            if not isinstance(values, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            message = f"{member.name!a} is not JSON: {error}"
            return replace(sample, offset=offset, values={}, fault=message)
        return replace(sample, offset=offset, values=values)

    def _finish(self, sample: Sample) -> Iterator[ShardClip | ShardFault]:
        """Yields the sample's clip or what is wrong with it; nothing if it is empty, or of a link."""
        fault = sample.fault or self._fault(sample)
        if fault:
            yield ShardFault(sample.offset, Reason.BAD_RECORD, fault, sample.shown)
        elif sample.audio is not None:
            yield make_clip(sample, sample.audio, self._columns)
        elif sample.link is not None:
            yield from self._linked.add(sample)

    def _fault(self, sample: Sample) -> str:
        if sample.audio is None and sample.link is None:
            if sample.values is not None:
                return "has a JSON but no audio file; files of one key must follow one another"
            return f"none of its files is audio ({sample.others[0]!a})" if sample.others else ""
        if sample.is_after_damage and sample.is_half(self._has_json):
            return "stands after damage, and its JSON may be lost there"
        survey = self._survey() if sample.values is None else None
        if survey is not None and survey.has_json(sample.key):
            return "its JSON stands elsewhere in the archive, not beside it; sort it (tar --sort=name)"
        if survey is not None and not survey.is_whole:
            return "the archive has too many files to find out whether its JSON stands elsewhere; divide it"
        return ""

    def _survey(self) -> TarSurvey | None:
        """Made once, where it is needed; None of a file that cannot be read twice."""
        if self._found is None and self._start is not None:
            self._found = TarSurvey(self._file, self._start)
        return self._found
