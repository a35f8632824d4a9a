"""Which recording and which segment a file is, told by its name."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transforms.audioset.segments import MAX_TIME_S, Segment, milliseconds
from transforms.errors import SettingError

_TIMES = re.compile(r"(?P<id>.+?)_(?P<start>\d+(?:\.\d+)?)(?:_(?P<end>\d+(?:\.\d+)?))?", re.DOTALL)


@dataclass(frozen=True)
class NamedSegment:
    """A segment that a file's name gives.

    Attributes:
      segment: which.
      is_cut: the name has the time, so the file holds the segment and nothing else.
    """

    segment: Segment
    is_cut: bool


def stem(path: str) -> str:
    """File name without folder and without its last extension."""
    name = re.split(r"[/\\]", path)[-1]
    base, dot, _ = name.rpartition(".")
    return base if dot and base else name


def compile_id_pattern(text: str) -> re.Pattern[str]:
    """Compiles `--id_pattern`: searched in the path, with a group `id` and, if the files are
    segments already cut, a group `start` in seconds.

    Raises:
      SettingError: no regular expression, or no group `id`.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SettingError(f"--id_pattern={text}: not a regular expression ({error}); mend it") from error
    if "id" not in pattern.groupindex:
        raise SettingError(
            f"--id_pattern={text}: has no group named id; write one, as in (?P<id>[^/]+)\\.wav"
        )
    return pattern


def video_id_of(path: str, id_pattern: re.Pattern[str] | None = None) -> str | None:
    """The id of a file that is a clip by itself: its stem, or what the pattern finds, or None."""
    if id_pattern is None:
        return stem(path)
    match = id_pattern.search(path)
    return match["id"] or None if match else None


def find_segments(
    path: str,
    find: Callable[[str], Sequence[Segment]],
    id_pattern: re.Pattern[str] | None = None,
) -> list[NamedSegment]:
    """The segments that a file's name gives.

    Names that common downloaders give are known: `ID`, `YID`, `ID_30.000`, `ID_30_40`,
    `ID_30000_40000` (milliseconds). An id may itself look like a time at its end or begin with Y, so the
    first reading that names a segment is taken, the whole stem before any part of it.

    Args:
      path: the file's.
      find: id -> its segments.
      id_pattern: as `compile_id_pattern` returns, for other names.

    Returns:
      All segments of the recording where the name has no time, else those at that time (of several
      splits, if they share it); empty if none fits.
    """
    for video_id, start, end in _readings(path, id_pattern):
        segments = find(video_id)
        if start is None:
            named = [NamedSegment(segment, is_cut=False) for segment in segments]
        else:
            named = _at_times(segments, start, end)
        if named:
            return named
    return []


def _readings(path: str, id_pattern: re.Pattern[str] | None) -> Iterator[tuple[str, str | None, str | None]]:
    """Yields (id, start, end) in the order of preference; times as they are written."""
    if id_pattern is not None:
        match = id_pattern.search(path)
        if match and match["id"]:
            yield match["id"], match.groupdict().get("start"), None
        return
    name = stem(path)
    yield name, None, None
    if name.startswith("Y"):
        yield name[1:], None, None
    # Lazy ids leave two numbers to the times; a greedy reading then tries the last number alone.
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
    """Those at the times of a name, read as seconds, or as milliseconds where no seconds fit."""
    try:
        times = [float(time) for time in (start, end) if time is not None]
    except ValueError:  # what a user's pattern found is no number
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
