"""The values that travel between the stages."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from transforms.audioset.segments import Segment, milliseconds
from transforms.errors import ClipError, Reason
from transforms.redact import shown_text
from transforms.storage.files import sha256_of_file

Key = tuple[str, str, int]  # split, video id, start in milliseconds


@dataclass(frozen=True)
class Clip:
    """A clip to read.

    Attributes:
      split, video_id, labels: its record's.
      file: path of the audio file or of the shard.
      offset: where in the shard it begins, in bytes or rows; None of an audio file.
      start_s, end_s: its times; an end of None is where its audio ends.
      is_cut: its audio holds the clip and nothing else; else a soundtrack, from which it is cut.
      audio: a shard's audio, encoded; None of an audio file, which is read when its turn comes.
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
    def key(self) -> Key:
        """What two clips of one record share."""
        return self.split, self.video_id, milliseconds(self.start_s)


@dataclass(frozen=True)
class ClipChunk:
    """A stretch of a clip's frames: a short clip is one chunk, a long recording many.

    Attributes:
      file, offset: as the clip's.
      split, video_id, start_s: of the clip.
      index: chunks of the clip before this one.
      segment: of the clip, in its last chunk alone, since before that its end may not be known.
      sha256: of the audio of a shard's clip, in its last chunk alone; a file can be read again for it.
    """

    file: str
    offset: int | None
    split: str
    video_id: str
    start_s: float
    index: int
    segment: Segment | None
    sha256: str | None = None

    @property
    def key(self) -> Key:
        """As the clip's."""
        return self.split, self.video_id, milliseconds(self.start_s)


@dataclass(frozen=True)
class Claim:
    """An input whose record is there, so that it is not computed; another input may still come before it.

    Attributes:
      split, video_id, start_s, file, offset: of the clip.
      sha256: of the audio of a shard's clip; a file can be read again for it.
      is_known: whether the record is known to be of this input; else nobody knows of which it is.
    """

    split: str
    video_id: str
    start_s: float
    file: str
    offset: int | None
    sha256: str | None
    is_known: bool

    @property
    def key(self) -> Key:
        """As the clip's."""
        return self.split, self.video_id, milliseconds(self.start_s)


@dataclass(frozen=True)
class RejectedClip:
    """A clip that gives no record.

    Attributes:
      split, video_id, start_s, file, offset: of the clip; the id is empty where a shard's fault hides it, and
        of a folder.
      stage: the stage that rejected it, a verb.
      reason: why, from a short list.
      message: what was wrong, for a person.
      sha256: of the clip's encoded audio, in hex; None where damage hides it or it cannot be read.
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
        """As the clip's; where its id is hidden, of the file."""
        return self.split, self.video_id or self.file, milliseconds(self.start_s)

    @property
    def is_folder(self) -> bool:
        """Whether it stands for all that is in a folder which cannot be listed; `file` is the folder's."""
        return self.offset is None and not self.video_id

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.video_id,
            "split": self.split,
            "start_s": self.start_s,
            "file": self.file,
            "offset": self.offset,
            "stage": self.stage,
            "reason": self.reason.value,
            "message": shown_text(self.message),
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, line: str) -> "RejectedClip":
        """The inverse of a line of `to_json`.

        Raises:
          ValueError: it is no such line.
        """
        try:
            clip = cls.from_row(json.loads(line))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"no rejected clip ({error!r})") from error
        for name, kinds in _REJECTED_TYPES.items():
            if not isinstance(getattr(clip, name), kinds):
                raise ValueError(f"no rejected clip ({name} is {getattr(clip, name)!r})")
        if not math.isfinite(clip.start_s):
            raise ValueError(f"no rejected clip (it begins at {clip.start_s} s)")
        return clip

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "RejectedClip":
        """The inverse of `to_json`."""
        return cls(
            row["split"],
            row["id"],
            row["start_s"],
            row["file"],
            row["offset"],
            row["stage"],
            Reason(row["reason"]),
            row["message"],
            row["sha256"],
        )


_REJECTED_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("split", "video_id", "file", "stage", "message"), (str,)),
    "start_s": (float, int),
    "offset": (int, type(None)),
    "sha256": (str, type(None)),
}


def reject(clip: Clip | ClipChunk | Claim, stage: str, error: ClipError) -> RejectedClip:
    """The rejection of a clip by an error of its own, with the hash of its encoded audio where it can be had.

    An audio file is read for it, from front to back.
    """
    sha256 = clip.sha256 if isinstance(clip, ClipChunk | Claim) else None
    if isinstance(clip, Clip) and clip.audio is not None:
        sha256 = sha256_of(clip.audio)
    if sha256 is None and clip.offset is None:
        sha256 = sha256_of_file(clip.file)
    return RejectedClip(
        clip.split,
        clip.video_id,
        clip.start_s,
        clip.file,
        clip.offset,
        stage,
        error.reason,
        str(error),
        sha256,
    )


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Unmatched:
    """A file, or a clip of a shard, that no segment names, or a segment without audio: no error.

    Attributes:
      file: path of the file or the shard; None of a segment.
      video_id: of a shard's clip.
      segment: the segment.
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
