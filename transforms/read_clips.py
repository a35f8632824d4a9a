"""Input globs to the clips that a run is about, each file and each segment accounted for."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audioset.names import find_segments, video_id_of
from transforms.audioset.segments import Segment, SegmentTable
from transforms.clips import Clip, RejectedClip, Unmatched
from transforms.errors import ClipError, Reason
from transforms.files import match_files
from transforms.read_segments import SegmentFiles

Key = tuple[str, str, int]

_UNMATCHED = "unmatched"
_REJECTED = "rejected"


class ClipInputs(NamedTuple):
    """What `ReadClips` returns: PCollections of Clip, RejectedClip and Unmatched."""

    clips: beam.PCollection[Clip]
    rejected: beam.PCollection[RejectedClip]
    unmatched: beam.PCollection[Unmatched]


def clips_of_file(
    path: str, split: str, table: SegmentTable | None, id_pattern: re.Pattern[str] | None
) -> list[Clip]:
    """The clips of a file: one for each segment that its name gives, or the file itself without a table.

    Args:
      path: the file's.
      split: the split of a file that is a clip by itself.
      table: all segments, or None.
      id_pattern: as `names.compile_id_pattern` returns.
    """
    if table is None:
        video_id = video_id_of(path, id_pattern)
        return [Clip(video_id, split, path)] if video_id else []
    return [
        Clip(named.segment.video_id, named.segment.split, path, named.segment, named.is_cut)
        for named in find_segments(path, table.find, id_pattern)
    ]


def clip_key(clip: Clip) -> Key:
    """What two clips of one record share."""
    return clip.segment.key if clip.segment else (clip.split, clip.video_id, 0)


def choose_file(clips: Iterable[Clip]) -> tuple[Clip | None, list[RejectedClip]]:
    """Of clips with one key the one whose path sorts first is read; the others are duplicates."""
    ordered = sorted(clips, key=lambda clip: clip.file)
    if not ordered:
        return None, []
    first, *others = ordered
    error = ClipError(Reason.DUPLICATE, f"{first.file} is this clip already; its path sorts first")
    return first, [RejectedClip.of(other, "read_clips", error) for other in others]


@dataclass
class ReadClips(beam.PTransform):
    """Finds input files and the clips in them.

    Attributes:
      patterns: globs on any filesystem that Beam knows.
      split: the split of clips that no segments CSV names.
      segments: segments CSVs; None if every file is one clip.
      id_pattern: as `names.compile_id_pattern` returns.
    """

    patterns: Sequence[str]
    split: str
    segments: SegmentFiles | None = None
    id_pattern: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, pbegin: beam.pvalue.PBegin) -> ClipInputs:
        pipeline = pbegin.pipeline
        named = (
            pipeline
            | "Patterns" >> beam.Create(self.patterns)
            | "MatchFiles" >> beam.FlatMap(match_files)
            # str, twice if two globs match it
            | "Distinct" >> beam.Distinct()
            | "NameClips" >> beam.ParDo(_NameClips(self)).with_outputs(_UNMATCHED, main="clips")
        )
        # named.clips: (Key, Clip)
        groups = {"clips": named.clips}
        if self.segments is not None:
            groups["segments"] = (
                pipeline
                | "SegmentFiles" >> beam.Create([self.segments])
                | "ReadSegments" >> beam.FlatMap(lambda source: ((s.key, s) for s in source.table()))
                # (Key, Segment)
            )
        chosen = (
            groups
            | "JoinByKey" >> beam.CoGroupByKey()
            # (Key, {"clips": [Clip], "segments": [Segment]})
            | "ChooseFile" >> beam.FlatMap(_choose_file).with_outputs(_REJECTED, _UNMATCHED, main="clips")
        )
        unmatched = (named[_UNMATCHED], chosen[_UNMATCHED]) | "Unmatched" >> beam.Flatten()
        return ClipInputs(chosen.clips, chosen[_REJECTED], unmatched)


class _NameClips(beam.DoFn):
    """Path -> (Key, Clip), and an Unmatched for a file that gives none."""

    def __init__(self, settings: ReadClips):
        self._split = settings.split
        self._segments = settings.segments
        self._id_pattern = settings.id_pattern
        self._table: SegmentTable | None = None

    def setup(self) -> None:
        self._table = self._segments.table() if self._segments else None

    def process(
        self, path: str
    ) -> Iterator[tuple[Key, Clip] | TaggedOutput[Literal["unmatched"], Unmatched]]:
        clips = clips_of_file(path, self._split, self._table, self._id_pattern)
        if not clips:
            yield TaggedOutput(_UNMATCHED, Unmatched(file=path))
        for clip in clips:
            yield clip_key(clip), clip


def _choose_file(
    group: tuple[Key, dict[str, Iterable]],
) -> Iterator[
    Clip | TaggedOutput[Literal["rejected"], RejectedClip] | TaggedOutput[Literal["unmatched"], Unmatched]
]:
    _, values = group
    clip, rejected = choose_file(values["clips"])
    segments: Iterable[Segment] = values.get("segments", ())
    if clip is not None:
        yield clip
    else:
        for segment in segments:
            yield TaggedOutput(_UNMATCHED, Unmatched(segment=segment))
    for other in rejected:
        yield TaggedOutput(_REJECTED, other)
