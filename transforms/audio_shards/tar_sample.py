"""A sample of a tar: the files with one key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from transforms.audio_shards.items import ShardClip, ShardFault, make_item
from transforms.audio_shards.tar_members import Kind, Member

# A dot in a time is a decimal point and does not end the key: the key of ID_1.5_11.5.wav is ID_1.5_11.5.
_TIMED = re.compile(r"(?P<base>[^.]+_\d+\.\d+(?:_\d+(?:\.\d+)?)?)\.(?P<extension>.+)", re.DOTALL)


def split_name(name: str) -> tuple[str, str, str]:
    """Split a member's name into its key, the key without folders, and the lower-case extension ("left.wav").

    The key is the path up to the first dot of the file name, as in WebDataset, but decimal points of times
    belong to it. A name without a dot is a key without extension. A name that begins with a dot has no key.
    """
    folder, slash, name = name.rpartition("/")
    timed = _TIMED.fullmatch(name)
    base, extension = (timed["base"], timed["extension"]) if timed else name.partition(".")[::2]
    return (folder + slash + base if base else ""), base, extension.lower()


@dataclass(frozen=True)
class Sample:
    """The parts of a sample that have been read."""

    key: str
    base: str  # the key without its folders
    offset: int = 0  # of the audio if there is one, else of the JSON, else of the first file
    name: str = ""  # of the audio's member
    audio: bytes | None = None
    values: Mapping[str, Any] | None = None  # the content of the JSON
    link: Member | None = None  # takes the place of the audio
    has_audio_link: bool = False  # the link has an audio extension; otherwise its target may be any file
    others: tuple[str, ...] = ()  # the name of one file that is neither audio nor JSON, if there are any
    fault: str = ""  # what is wrong with one of its files
    is_cut: bool = False  # the archive ends in one of its files
    is_after_damage: bool = False  # it follows damage, so its first file may be lost

    def is_half(self, has_json: bool) -> bool:
        """Return whether audio or JSON is missing. Audio alone is complete if no sample so far has a JSON."""
        if self.audio is None and self.link is None:
            return self.values is not None
        return has_json and self.values is None

    def with_other(self, member: Member) -> "Sample":
        """Return the sample with a file that is not audio, or with a link that may lead to audio."""
        if member.kind is not Kind.FILE and self.link is None and self.audio is None:
            return replace(self, link=member)
        if self.others or self.audio is not None:
            return self
        is_first = self.values is None and self.link is None
        return replace(self, others=(member.name,), offset=member.offset if is_first else self.offset)

    @property
    def display_name(self) -> str:
        """The base for a fault: surrogates (bytes that are not UTF-8), which files reject, are escaped."""
        return self.base.encode(errors="backslashreplace").decode()


def make_clip(sample: Sample, audio: bytes, columns: Mapping[str, str]) -> ShardClip | ShardFault:
    """Build the clip of a sample with this audio, at the sample's offset; return a fault if it is invalid."""
    values = {field: (sample.values or {}).get(name) for field, name in columns.items()}
    is_named = values["video_id"] is None
    if is_named:
        values["video_id"] = sample.base
    item = make_item(sample.offset, {**values, "audio": audio})
    return replace(item, name=sample.name) if is_named and isinstance(item, ShardClip) else item
