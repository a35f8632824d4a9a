"""The values that travel between the stages."""

from dataclasses import dataclass
from typing import Any

from transforms.audioset.segments import Segment
from transforms.errors import ClipError, Reason


@dataclass(frozen=True)
class Clip:
    """A clip to read.

    Attributes:
      video_id, split: its record's.
      file: path of the audio file.
      segment: the segment of a segments CSV; None if the whole file is the clip.
      is_cut: the file is known to hold the segment and nothing else.
    """

    video_id: str
    split: str
    file: str
    segment: Segment | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class RejectedClip:
    """A clip that gives no record.

    Attributes:
      video_id, split, start_s, file: of the clip.
      stage: the stage that rejected it, a verb.
      reason: why, from a short list.
      message: what was wrong, for a person.
    """

    video_id: str
    split: str
    start_s: float
    file: str
    stage: str
    reason: Reason
    message: str

    @classmethod
    def of(cls, clip: Clip, stage: str, error: ClipError) -> "RejectedClip":
        start_s = clip.segment.start_s if clip.segment else 0.0
        return cls(clip.video_id, clip.split, start_s, clip.file, stage, error.reason, str(error))

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.video_id,
            "split": self.split,
            "start_s": self.start_s,
            "file": self.file,
            "stage": self.stage,
            "reason": self.reason.value,
            "message": self.message,
        }


@dataclass(frozen=True)
class Unmatched:
    """A file that no segment names, or a segment without a file: listed, and no error."""

    file: str | None = None
    segment: Segment | None = None

    @property
    def kind(self) -> str:
        return "segment_without_file" if self.segment else "file_without_segment"

    def to_json(self) -> dict[str, Any]:
        if self.segment is None:
            return {"kind": self.kind, "file": self.file}
        return {
            "kind": self.kind,
            "id": self.segment.video_id,
            "split": self.segment.split,
            "start_s": self.segment.start_s,
            "end_s": self.segment.end_s,
        }
