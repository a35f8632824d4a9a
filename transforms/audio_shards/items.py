"""What a shard gives, clip or fault, and the names under which it holds a clip's fields."""

import difflib
import math
import numbers
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.errors import Reason, SettingError

FIELDS = ("video_id", "audio", "start_time_seconds", "end_time_seconds", "labels", "split")

# No encoded clip comes near it, and protobuf, Arrow's binary and Parquet's pages end there too.
MAX_AUDIO_BYTES = 1 << 31

# Far more than there are classes, and far less than memory holds.
MAX_LABELS = 100_000

# 30,000 years: beyond any recording, and its milliseconds, by which clips are keyed, fit in 64 bits.
_MAX_TIME_S = 1e12


@dataclass(frozen=True)
class ShardClip:
    """A clip as a shard holds it.

    Attributes:
      offset: where it stands: the record's or the audio member's first byte (in the unpacked stream, if
        the shard is gzip), or the row of a Parquet file.
      video_id: its id, not empty.
      audio: the encoded file's bytes, not looked at.
      start_s, end_s: times in the recording, 0 <= start < end <= 1e12; None where the shard does not say.
      labels: as found, in their order: indices, mids or display names.
      split: as found; None where the shard does not say.
      name: path of the tar member whose name alone gives the id; None where the shard says the id itself.
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
    """A part of a shard that gives no clip.

    Attributes:
      offset: where it stands, as `ShardClip.offset`.
      reason: `bad_record`, and reading went on; `truncated_shard`, and it could not; or `unsupported`, the
        form of the whole file.
      message: what was wrong, for a person.
      video_id: the clip's id, where it could still be read.
    """

    offset: int
    reason: Reason
    message: str
    video_id: str | None = None


def parse_columns(text: str = "") -> dict[str, str]:
    """Reads `--columns=video_id=id,audio=audio/encoded`: field -> its name in the shards.

    Returns:
      All of FIELDS; those that `text` does not give have their own name.

    Raises:
      SettingError: an unknown field, no name, or a field or name that comes twice.
    """
    columns: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        field, _, name = (side.strip() for side in part.partition("="))
        where = f"--columns={text}: "
        if field not in FIELDS:
            near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.4)
            remedy = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}"
            raise SettingError(f"{where}{field!r} is no field; {remedy}")
        if not name:
            raise SettingError(f"{where}{field} has no name; give {field}=NAME, the name in your shards")
        if field in columns or name in columns.values():
            raise SettingError(f"{where}{part.strip()} comes a second time; keep one")
        columns[field] = name
    return {field: columns.get(field, field) for field in FIELDS}


def make_item(offset: int, values: Mapping[str, Any]) -> ShardClip | ShardFault:
    """A clip of the values that a record, member or row has, or what is wrong with them.

    Args:
      offset: where they stand.
      values: field -> value; bytes are taken for text in UTF-8 (`audio` aside), one label for a list of
        one. None, or no entry, is a field that the shard does not give; only id and audio must be there.
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
            raise ValueError(f"ends at {end_s} s, and starts at {start_s or 0} s; times must rise")
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
    """What the writer of a float32 meant: 30.1, where the nearest float32 is 30.100000381."""
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
        value.encode()  # half a surrogate pair: JSON can hold it, file names and records cannot
    except UnicodeEncodeError:
        raise ValueError(f"{field} {_show(value)} is not Unicode text") from None
    return value


def _label(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes)):
        return _text("labels", value)
    raise ValueError(f"labels has {_show(value)}, neither number nor text")


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
    """A value of any size and kind, in few letters."""
    shown = value[:40] if isinstance(value, (str, bytes)) else value
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {ascii(shown)[:60]}"
