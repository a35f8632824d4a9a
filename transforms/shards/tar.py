"""Clips of tar archives, as WebDataset packs them.

Consecutive files of one key are a sample. The key is the path up to the first dot of the file's name, folders
included; what follows that dot is the extension: `a/b.left.wav` has the key `a/b` (WebDataset's
`base_plus_ext`). Files whose name begins with a dot, or has none, belong to no sample.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from transforms.errors import Reason
from transforms.shards.items import MAX_AUDIO_BYTES, ShardClip, ShardFault, make_item
from transforms.shards.stream import ByteStream
from transforms.shards.tar_members import Member, read_members

# fmt: off
AUDIO_EXTENSIONS = frozenset([
    "aac", "aif", "aifc", "aiff", "au", "caf", "flac", "m4a", "mka", "mkv", "mp3", "mp4", "oga", "ogg",
    "opus", "rf64", "snd", "w64", "wav", "wave", "webm", "wma",
])
# fmt: on
_MAX_JSON_BYTES = 1 << 24


def read_tar(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Reads a shard as a stream, plain or gzip, with one sample in memory.

    A sample has one audio file, known by the last part of its extension, and may have a `json`: an object
    with the other fields. Without `video_id` in it the id is the key without its folders: the id that the
    file has outside the archive, and one that can name a record. Other files are passed over.

    Args:
      file: open for reading in binary mode, at its start; need not be seekable.
      columns: as `parse_columns` returns, for the names in the JSON; `audio` is not used.

    Yields:
      A clip a sample, at its audio's offset. A `bad_record` is a sample with a JSON but no audio, or with a
      JSON that is damaged; the second audio of a sample; a damaged header, after which the next is searched,
      and with it the sample that it breaks off; and a sample after such damage that may have lost its JSON
      there. A `truncated_shard` is the last, and stands for the sample that it breaks off too.
    """
    stream = ByteStream(file)
    sample = _Sample("", "")
    has_json = False  # some sample of this shard has one, so another without has perhaps lost it
    for member in read_members(stream):
        if isinstance(member, ShardFault):
            if sample.is_cut or sample.is_half(has_json):
                member = replace(member, video_id=sample.shown)  # the rest of it is what is damaged
            else:
                yield from _finish(sample, columns, has_json)
            yield member
            sample = _Sample("", "", is_after_damage=True)
            continue
        folder, slash, name = member.name.rpartition("/")
        base, dot, extension = name.partition(".")
        if not base or not dot:
            continue
        key = folder + slash + base
        if key != sample.key:
            yield from _finish(sample, columns, has_json)
            sample = _Sample(key, base, is_after_damage=sample.is_after_damage and not sample.key)
        extension = extension.lower()
        if extension == "json":
            has_json = True
            sample = _with_json(sample, member, stream)
        elif extension.rpartition(".")[2] in AUDIO_EXTENSIONS:
            if sample.audio is not None:
                message = f"{member.name!a} is a second audio file of its key; pack each under its own"
                yield ShardFault(member.offset, Reason.BAD_RECORD, message, sample.shown)
            else:
                sample = _with_audio(sample, member, stream)
    yield from _finish(sample, columns, has_json)


@dataclass(frozen=True)
class _Sample:
    """What was read of a key.

    Attributes:
      key, base: with and without its folders.
      offset: of the audio if there is one, else of the JSON.
      audio, values: what it holds.
      fault: what is wrong with one of its files.
      is_cut: the archive ends in one of its files.
      is_after_damage: its first file may be lost.
    """

    key: str
    base: str
    offset: int = 0
    audio: bytes | None = None
    values: Mapping[str, Any] | None = None
    fault: str = ""
    is_cut: bool = False
    is_after_damage: bool = False

    def is_half(self, has_json: bool) -> bool:
        """Whether it has one of audio and JSON; an audio alone is whole where no sample has a JSON."""
        if self.audio is None:
            return self.values is not None
        return has_json and self.values is None

    @property
    def shown(self) -> str:
        """The base, for a fault; names that are not UTF-8 have surrogates, which no file takes."""
        return self.base.encode(errors="backslashreplace").decode()


def _with_audio(sample: _Sample, member: Member, stream: ByteStream) -> _Sample:
    if member.size > MAX_AUDIO_BYTES:
        message = f"{member.name!a} has {member.size} bytes, more than {MAX_AUDIO_BYTES}"
        return replace(sample, offset=member.offset, audio=b"", fault=message)
    audio = stream.read(member.size)
    return replace(sample, offset=member.offset, audio=audio, is_cut=len(audio) < member.size)


def _with_json(sample: _Sample, member: Member, stream: ByteStream) -> _Sample:
    offset = member.offset if sample.audio is None else sample.offset
    if member.size > _MAX_JSON_BYTES:
        message = f"{member.name!a} has {member.size} bytes, more than {_MAX_JSON_BYTES}"
        return replace(sample, offset=offset, values={}, fault=message)
    data = stream.read(member.size)
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


def _finish(sample: _Sample, columns: Mapping[str, str], has_json: bool) -> Iterator[ShardClip | ShardFault]:
    """Yields the sample's clip or what is wrong with it; nothing if it had neither audio nor JSON."""
    fault = sample.fault
    if sample.audio is None and sample.values is None and not fault:
        return
    if not fault and sample.audio is None:
        fault = "has a JSON but no audio file; files of one key must follow one another"
    if not fault and sample.is_after_damage and sample.is_half(has_json):
        fault = "stands after damage, and its JSON may be lost there"
    if fault:
        yield ShardFault(sample.offset, Reason.BAD_RECORD, fault, sample.shown)
        return
    values = {field: (sample.values or {}).get(name) for field, name in columns.items()}
    if values["video_id"] is None:
        values["video_id"] = sample.base
    yield make_item(sample.offset, {**values, "audio": sample.audio})
