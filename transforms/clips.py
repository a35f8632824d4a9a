"""The values that the stages exchange."""

import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from transforms.audioset.segments import Segment, milliseconds
from transforms.errors import ClipError, Reason
from transforms.redact import shown_text
from transforms.storage.files import sha256_of_file

Key = tuple[str, str, int]  # split, video id, start in milliseconds


class _Keyed:
    split: str
    video_id: str
    start_s: float

    @property
    def key(self) -> Key:
        """The key of the clip's record; inputs for the same record have the same key."""
        return self.split, self.video_id, milliseconds(self.start_s)


@dataclass(frozen=True)
class Clip(_Keyed):
    """A clip to read.

    Attributes:
      split, video_id, labels: of its record.
      file: path of the audio file or of the shard.
      offset: where the clip begins in the shard, in bytes or rows; None for an audio file.
      start_s, end_s: its times; an end of None means the end of its audio.
      is_cut: whether its audio contains only the clip. Otherwise the clip must be cut from a soundtrack.
      audio: encoded audio from a shard; None for an audio file, which is read later.
    """

    split: str
    video_id: str
    file: str
    offset: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    labels: tuple[int, ...] = ()
    is_cut: bool = True
    audio: bytes | None = None

    @property
    def sha256(self) -> str | None:
        """Hash of the encoded audio of a shard's clip; None for an audio file."""
        return None if self.audio is None else sha256_of(self.audio)


@dataclass(frozen=True)
class ClipChunk(_Keyed):
    """Consecutive frames of a clip: a short clip has one chunk, a long recording many.

    Attributes:
      file, offset, split, video_id, start_s: of the clip.
      index: number of chunks of the clip before this one.
      segment: of the clip; only the last chunk has it, since the end of the audio may not be known before.
      sha256: of the encoded audio of a shard's clip; only the last chunk has it. None for an audio file,
        which can be read again.
    """

    file: str
    offset: int | None
    split: str
    video_id: str
    start_s: float
    index: int
    segment: Segment | None
    sha256: str | None = None


@dataclass(frozen=True)
class ExistingClip(_Keyed):
    """An input whose record exists, so that it is not computed; another input may still replace the record.

    Attributes:
      split, video_id, start_s, file, offset: of the clip.
      sha256: of the encoded audio of a shard's clip. None for an audio file, which can be read again.
      is_known: whether the record is known to come from this input. Otherwise its source is unknown.
    """

    split: str
    video_id: str
    start_s: float
    file: str
    offset: int | None
    sha256: str | None
    is_known: bool


@dataclass(frozen=True)
class RejectedClip:
    """A clip without a record.

    Attributes:
      split, video_id, start_s, file, offset: of the clip; the id is empty for a folder, and if a shard is so
        damaged that the id is unknown.
      stage: the stage that rejected it, such as "read_clips".
      reason: the kind of problem.
      message: describes the problem to a person.
      sha256: of the clip's encoded audio, in hex; None if damage makes it unknown or it cannot be read.
    """

    split: str
    video_id: str
    start_s: float
    file: str
    offset: int | None
    stage: str
    reason: Reason
    message: str
    sha256: str | None = None

    @property
    def key(self) -> Key:
        """The key of the clip, with the path of the file in place of an unknown id."""
        return self.split, self.video_id or self.file, milliseconds(self.start_s)

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder that cannot be listed; `file` is its path."""
        return self.offset is None and not self.video_id

    def to_json(self) -> dict[str, Any]:
        values = {"id": self.video_id, **vars(self)}
        del values["video_id"]
        return values | {"reason": self.reason.value, "message": shown_text(self.message)}

    @classmethod
    def from_json(cls, line: str) -> "RejectedClip":
        """Parse a line that contains the JSON of `to_json`.

        Raises:
          ValueError: the line does not describe a rejected clip.
        """
        try:
            clip = cls.from_row(json.loads(line))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a rejected clip ({error!r})") from error
        for name, kinds in _REJECTED_TYPES.items():
            if not isinstance(getattr(clip, name), kinds):
                raise ValueError(f"not a rejected clip ({name} is {getattr(clip, name)!r})")
        if not math.isfinite(clip.start_s):
            raise ValueError(f"not a rejected clip (it begins at {clip.start_s} s)")
        return clip

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "RejectedClip":
        """Return the clip of a dict that `to_json` returned."""
        row = {**row, "video_id": row["id"], "reason": Reason(row["reason"])}
        return cls(*(row[field.name] for field in fields(cls)))


_REJECTED_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("split", "video_id", "file", "stage", "message"), (str,)),
    "start_s": (float, int),
    "offset": (int, type(None)),
    "sha256": (str, type(None)),
}

AnyClip: TypeAlias = Clip | ClipChunk | ExistingClip | RejectedClip


def reject(clip: Clip | ClipChunk | ExistingClip, stage: str, error: ClipError) -> RejectedClip:
    """Return the rejected clip for an error, with the hash of the clip's encoded audio if it is available.

    If the clip is an audio file, this reads the whole file.
    """
    sha256 = clip.sha256
    if sha256 is None and clip.offset is None:
        sha256 = sha256_of_file(clip.file)
    where = (clip.split, clip.video_id, clip.start_s, clip.file, clip.offset)
    return RejectedClip(*where, stage, error.reason, str(error), sha256)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Unmatched:
    """A file or a shard's clip without a segment, or a segment without audio. This is not an error.

    Attributes:
      file: path of the file or the shard; None for a segment.
      video_id: of a shard's clip.
      segment: the segment without audio.
    """

    file: str | None = None
    video_id: str | None = None
    segment: Segment | None = None

    @property
    def kind(self) -> str:
        return "segment_without_file" if self.segment else "file_without_segment"

    def to_json(self) -> dict[str, Any]:
        if self.segment is None:
            return {"kind": self.kind, "file": self.file, "id": self.video_id}
        return {
            "kind": self.kind,
            "id": self.segment.video_id,
            "split": self.segment.split,
            "start_s": self.segment.start_s,
            "end_s": self.segment.end_s,
        }
