"""The items that a shard reader yields, clips and faults, and the mapping from fields to columns."""

import difflib
import math
import numbers
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.errors import Reason, SettingError

FIELDS = ("video_id", "audio", "start_time_seconds", "end_time_seconds", "labels", "split")

# No encoded clip is nearly as large. Protobuf, Arrow's binary type and Parquet's pages have the same limit.
MAX_AUDIO_BYTES = 1 << 31

# Far more than there are classes, but few enough to fit in memory.
MAX_LABELS = 100_000

# 30,000 years: longer than any recording. In milliseconds, the unit of clip keys, it still fits in 64 bits.
_MAX_TIME_S = 1e12


@dataclass(frozen=True)
class ShardClip:
    """A clip as stored in a shard.

    Attributes:
      offset: position in the shard: the first byte of the record or of the audio member (in the decompressed
        stream, if the shard is compressed), or the row number in a Parquet file.
      video_id: its id, not empty.
      audio: the encoded file's bytes, not validated.
      start_s, end_s: times in the recording in seconds, 0 <= start < end <= 1e12; None if the shard has none.
      labels: in the shard's order and form: indices, mids or display names.
      split: as stored; None if the shard has none.
      name: path of the tar member if the id comes from its name; None if the shard stores the id itself.
    """

    offset: int
    video_id: str
    audio: bytes
    start_s: float | None = None
    end_s: float | None = None
    labels: tuple[int | str, ...] = ()
    split: str | None = None
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ShardFault:
    """A part of a shard that yields no clip.

    Attributes:
      offset: its position, as in `ShardClip.offset`.
      reason: `bad_record` if reading continued after it, `truncated_shard` if reading could not continue,
        or `unsupported` if the whole file has a format that is not read.
      message: what is wrong, for the user.
      video_id: the clip's id, if it could still be read.
    """

    offset: int
    reason: Reason
    message: str
    video_id: str | None = None


def parse_columns(text: str = "") -> dict[str, str]:
    """Parse `--columns`, such as `video_id=id,audio=audio/encoded`.

    Returns:
      field -> its name in the shards, for all of FIELDS. A field that `text` omits keeps its own name.

    Raises:
      SettingError: a field is unknown, has no name, or a field or name is repeated.
    """
    columns: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        field, _, name = (side.strip() for side in part.partition("="))
        where = f"--columns={text}: "
        if field not in FIELDS:
            near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.4)
            remedy = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}"
            raise SettingError(f"{where}{field!r} is not a known field; {remedy}")
        if not name:
            raise SettingError(f"{where}{field} has no name; give {field}=NAME, the name in your shards")
        if field in columns or name in columns.values():
            raise SettingError(f"{where}{part.strip()} repeats a field or a name; keep one")
        columns[field] = name
    return {field: columns.get(field, field) for field in FIELDS}


def make_item(offset: int, values: Mapping[str, Any]) -> ShardClip | ShardFault:
    """Build a clip from the values of a record, member or row; return a fault if they are invalid.

    Args:
      offset: position of the values in the shard.
      values: field -> value. Except for `audio`, bytes are decoded as UTF-8 text. A single label counts as a
        list of one. A missing or None value means that the shard lacks the field; only `video_id` and
        `audio` are required.
    """
    video_id = None
    try:
        video_id = _text("video_id", values.get("video_id"), numbers_too=True)
        if not video_id:
            raise ValueError("has no video_id")
        audio = values.get("audio")
        if audio is None:
            raise ValueError("has no audio")
        if not isinstance(audio, bytes):
            raise ValueError(f"audio is {_show(audio)}, not the bytes of an audio file")
        start_s = _time_s("start_time_seconds", values.get("start_time_seconds"))
        end_s = _time_s("end_time_seconds", values.get("end_time_seconds"))
        if end_s is not None and end_s <= (start_s or 0):
            raise ValueError(f"ends at {end_s} s but starts at {start_s or 0} s; the end must be later")
        labels = values.get("labels")
        if not isinstance(labels, (list, tuple)):
            labels = () if labels is None else (labels,)
        if len(labels) > MAX_LABELS:
            raise ValueError(f"labels has {len(labels)} values, more than {MAX_LABELS}")
        split = _text("split", values.get("split")) or None
        return ShardClip(offset, video_id, audio, start_s, end_s, tuple(map(_label, labels)), split)
    except ValueError as error:
        return ShardFault(offset, Reason.BAD_RECORD, str(error), video_id or None)


def shortest_float32(value: float) -> float:
    """Return the shortest decimal that rounds to the same float32: 30.1 for 30.100000381."""
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if math.isfinite(short) and abs(short) < 3e38 and struct.pack("f", short) == struct.pack("f", value):
            return short
    return value


def _text(field: str, value: Any, numbers_too: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{field} {_show(value)} is not UTF-8") from None
    if numbers_too and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{field} is {_show(value)}, not text")
    try:
        value.encode()  # JSON can hold half a surrogate pair; file names and records cannot
    except UnicodeEncodeError:
        raise ValueError(f"{field} {_show(value)} is not Unicode text") from None
    return value


def _label(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes)):
        return _text("labels", value)
    raise ValueError(f"labels has {_show(value)}; a label is an integer or text")


def _time_s(field: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Number) or isinstance(value, complex):
        raise ValueError(f"{field} is {_show(value)}, not a number of seconds")
    try:
        time_s = float(value)  # type: ignore[arg-type]
    except OverflowError:
        time_s = math.inf
    if not 0 <= time_s <= _MAX_TIME_S:
        raise ValueError(f"{field} is {time_s}, not a time from 0 to {_MAX_TIME_S:.0e} s")
    return time_s


def _show(value: Any) -> str:
    """Describe a value of any size and type in at most about 60 characters."""
    shown = value[:40] if isinstance(value, (str, bytes)) else value
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {ascii(shown)[:60]}"
