"""The files of one key of a tar."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from transforms.audio_shards.items import ShardClip, ShardFault, make_item
from transforms.audio_shards.tar_members import Kind, Member


@dataclass(frozen=True)
class Sample:
    """What was read of a key.

    Attributes:
      key, base: with and without its folders.
      offset: of the audio if there is one, else of the JSON, else of its first file.
      name: of the audio's member.
      audio, values: what it holds.
      link: in place of its audio.
      has_audio_link: the link has an extension of audio; else what it leads to may be anything.
      others: a name of those that are neither, where there are any.
      fault: what is wrong with one of its files.
      is_cut: the archive ends in one of its files.
      is_after_damage: its first file may be lost.
    """

    key: str
    base: str
    offset: int = 0
    name: str = ""
    audio: bytes | None = None
    values: Mapping[str, Any] | None = None
    link: Member | None = None
    has_audio_link: bool = False
    others: tuple[str, ...] = ()
    fault: str = ""
    is_cut: bool = False
    is_after_damage: bool = False

    def is_half(self, has_json: bool) -> bool:
        """Whether it has one of audio and JSON; an audio alone is whole where no sample has a JSON."""
        if self.audio is None and self.link is None:
            return self.values is not None
        return has_json and self.values is None

    def with_other(self, member: Member) -> "Sample":
        """With a file that is no audio, or a link that may lead to some."""
        if member.kind is not Kind.FILE and self.link is None and self.audio is None:
            return replace(self, link=member)
        if self.others or self.audio is not None:
            return self
        is_first = self.values is None and self.link is None
        return replace(self, others=(member.name,), offset=member.offset if is_first else self.offset)

    @property
    def shown(self) -> str:
        """The base, for a fault; names that are not UTF-8 have surrogates, which no file takes."""
        return self.base.encode(errors="backslashreplace").decode()


def make_clip(sample: Sample, audio: bytes, columns: Mapping[str, str]) -> ShardClip | ShardFault:
    """The clip of a sample with this audio, at the sample's offset, or what is wrong with it."""
    values = {field: (sample.values or {}).get(name) for field, name in columns.items()}
    is_named = values["video_id"] is None
    if is_named:
        values["video_id"] = sample.base
    item = make_item(sample.offset, {**values, "audio": audio})
    return replace(item, name=sample.name) if is_named and isinstance(item, ShardClip) else item
