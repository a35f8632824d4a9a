"""Finds the recording and the segment of a file from its name."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transforms.audioset.segments import MAX_TIME_S, Segment, milliseconds
from transforms.errors import SettingError

_TIMES = re.compile(r"(?P<id>.+?)_(?P<start>\d+(?:\.\d+)?)(?:_(?P<end>\d+(?:\.\d+)?))?", re.DOTALL)


@dataclass(frozen=True)
class NamedSegment:
    """A segment that a file's name refers to."""

    segment: Segment
    is_cut: bool  # the name contains the time, so the file contains exactly the segment


def stem(path: str) -> str:
    """Return the file name without folder and without its last extension."""
    name = re.split(r"[/\\]", path)[-1]
    base, dot, _ = name.rpartition(".")
    return base if dot and base else name


def compile_id_pattern(text: str) -> re.Pattern[str]:
    """Compile `--id_pattern`, which is searched for in the path.

    It needs a group `id` and, if each file is one segment, a group `start` in seconds.

    Raises:
      SettingError: it is not a regular expression, or it has no group `id`.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SettingError(
            f"--id_pattern={text}: not a valid regular expression ({error}); fix the pattern"
        ) from error
    if "id" not in pattern.groupindex:
        raise SettingError(
            f"--id_pattern={text}: has no group named id; add one, such as (?P<id>[^/]+)\\.wav"
        )
    return pattern


def video_id_of(path: str, id_pattern: re.Pattern[str] | None = None) -> str | None:
    """Return the id of a file that is one clip: its stem or the pattern's match; None if none matches."""
    if id_pattern is None:
        return stem(path)
    match = id_pattern.search(path)
    return match["id"] or None if match else None


def find_segments(
    path: str, find: Callable[[str], Sequence[Segment]], id_pattern: re.Pattern[str] | None = None
) -> list[NamedSegment]:
    """Find the segments that a file's name refers to.

    It knows the names of common downloaders: `ID`, `YID`, `ID_30.000`, `ID_30_40`, `ID_30000_40000`
    (milliseconds). An id may itself end in something like a time or begin with Y. Therefore the whole stem is
    tried as an id before its parts, and the first interpretation with a segment is used.

    Args:
      path: the file's path.
      find: id -> its segments.
      id_pattern: as `compile_id_pattern` returns, for other names.

    Returns:
      All segments of the recording if the name has no time; otherwise those at that time, which may be in
      several splits. Empty if none matches.
    """
    for video_id, start, end in _interpretations(path, id_pattern):
        segments = find(video_id)
        if start is None:
            named = [NamedSegment(segment, is_cut=False) for segment in segments]
        else:
            named = _at_times(segments, start, end)
        if named:
            return named
    return []


def _interpretations(
    path: str, id_pattern: re.Pattern[str] | None
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (id, start, end) in order of preference, with the times as text."""
    if id_pattern is not None:
        match = id_pattern.search(path)
        if match and match["id"]:
            yield match["id"], match.groupdict().get("start"), None
        return
    name = stem(path)
    yield name, None, None
    if name.startswith("Y"):
        yield name[1:], None, None
    # The lazy id of _TIMES leaves up to two numbers for the times. The greedy id leaves only the last number.
    for match in (
        _TIMES.fullmatch(name),
        re.fullmatch(r"(?P<id>.+)_(?P<start>\d+(?:\.\d+)?)", name, re.DOTALL),
    ):
        if match:
            times = match["start"], match.groupdict().get("end")
            yield match["id"], *times
            if match["id"].startswith("Y"):
                yield match["id"][1:], *times


def _at_times(segments: Sequence[Segment], start: str, end: str | None) -> list[NamedSegment]:
    """Return the segments at the times of a name, in seconds or, if none matches, in milliseconds."""
    try:
        times = [float(time) for time in (start, end) if time is not None]
    except ValueError:  # the user's pattern matched text that is not a number
        return []
    if not all(abs(time) <= 1000 * MAX_TIME_S for time in times):
        return []
    for wanted_ms in ([milliseconds(time) for time in times], [round(time) for time in times]):
        found = [
            NamedSegment(segment, is_cut=True)
            for segment in segments
            if [milliseconds(segment.start_s), milliseconds(segment.end_s)][: len(times)] == wanted_ms
        ]
        if found:
            return found
    return []
