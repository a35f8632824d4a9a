"""The clips of an audio file or of a shard's clip: itself, or its segments by name, id and times."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from transforms.audio_shards.items import ShardClip
from transforms.audioset.labels import label_indices
from transforms.audioset.layout import check_split
from transforms.audioset.names import NamedSegment, find_segments, video_id_of
from transforms.audioset.segments import Segment, SegmentTable, milliseconds
from transforms.clips import Clip
from transforms.errors import ClipError, Reason, SettingError


def file_clips(
    path: str, split: str, table: SegmentTable | None, id_pattern: re.Pattern[str] | None
) -> list[Clip]:
    """Return the clips of an audio file: one per segment that matches its name; without a table, itself."""
    if table is None:
        video_id = video_id_of(path, id_pattern)
        return [Clip(split, video_id, path)] if video_id else []
    return _segment_clips(Clip(split, "", path), find_segments(path, table.find, id_pattern))


def shard_clips(
    path: str,
    item: ShardClip,
    split: str,
    table: SegmentTable | None,
    class_indices: Mapping[str, int] | None,
    id_pattern: re.Pattern[str] | None = None,
) -> list[Clip]:
    """Return the clips of one clip in a shard: itself, or with a table one per matching segment.

    With a table, a clip with a start time is already cut, and matches the segment at that time. A clip
    without one matches all segments of its id, as a file does. A tar member without an id in a JSON file
    follows the rules for file names: the same names match the same segments, and `id_pattern` is searched in
    its path, with a slash before it.

    Raises:
      ClipError: its times, its split or a label are not valid.
    """
    clip = Clip(split, item.video_id, path, item.offset, audio=item.audio)
    if table is not None:
        return _segment_clips(clip, _segments_of(item, table, id_pattern))
    if item.name is not None and id_pattern is not None:
        video_id = video_id_of(f"/{item.name}", id_pattern)
        if not video_id:
            return []
        clip = replace(clip, video_id=video_id)
    start_s, end_s = item.start_s or 0.0, item.end_s
    if not 0 <= start_s < (start_s + 1 if end_s is None else end_s) < float("inf"):
        raise ClipError(Reason.BAD_RECORD, f"times from {item.start_s} to {end_s} s are not a valid segment")
    try:
        split = split if item.split is None else check_split(item.split)
    except SettingError as error:
        raise ClipError(Reason.BAD_RECORD, str(error)) from error
    labels = label_indices(item.labels, class_indices)
    return [replace(clip, split=split, start_s=start_s, end_s=end_s, labels=labels)]


def _segments_of(
    item: ShardClip, table: SegmentTable, id_pattern: re.Pattern[str] | None
) -> list[NamedSegment]:
    """Return the segments of a shard's clip by its times and its id or member name."""

    def find(video_id: str) -> list[Segment]:
        segments = table.find(video_id)
        if item.start_s is not None:
            segments = [s for s in segments if milliseconds(s.start_s) == milliseconds(item.start_s)]
        if item.end_s is not None:
            # Segments of several splits may share a start but not an end. If no segment has this end, it is
            # the end of the audio.
            same_end = [s for s in segments if milliseconds(s.end_s) == milliseconds(item.end_s)]
            segments = same_end or segments
        return segments

    if item.name is None:
        found = [NamedSegment(segment, is_cut=False) for segment in find(item.video_id)]
    else:
        found = find_segments(f"/{item.name}", find, id_pattern)
        if not found and id_pattern is None:  # the id, if the extension has several parts
            found = find_segments(item.video_id + ".", find)
    return [replace(named, is_cut=named.is_cut or item.start_s is not None) for named in found]


def _segment_clips(clip: Clip, found: Iterable[NamedSegment]) -> list[Clip]:
    """Return a copy of the clip per segment, with the segment's fields."""
    fields = ("split", "video_id", "start_s", "end_s", "labels")
    return [
        replace(clip, is_cut=named.is_cut, **{name: getattr(named.segment, name) for name in fields})
        for named in found
    ]
