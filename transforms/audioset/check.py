"""Checks that a record has the layout of the release or of another schema."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.audioset.example import END_TIME, LABELS, START_TIME, decode_context, parse_example
from transforms.audioset.schemas import AUDIOSET_SCHEMA, Schema
from transforms.audioset.segments import Segment
from transforms.example_protos import Feature

_KINDS = {START_TIME: "float", END_TIME: "float", LABELS: "int64"}
# Bytes of a quantized frame, and values of a raw one: VGGish's embedding size.
_FRAME_SIZE = 128


@dataclass(frozen=True)
class CheckedRecord:
    """The result of a check.

    Attributes:
      problems: what is wrong, one phrase each.
      segment: of the record; None if its context is invalid.
      codes: the bytes of quantized frames, 128 per frame; empty for raw or invalid frames.
      num_frames: number of frames, quantized or raw.
      is_raw: the frames are floats.
    """

    problems: tuple[str, ...]
    segment: Segment | None = None
    codes: bytes = b""
    num_frames: int = 0
    is_raw: bool = False


def check_record(record: bytes, schema: Schema = AUDIOSET_SCHEMA, split: str = "") -> CheckedRecord:
    """Check the keys, types and frames of a serialized `tf.train.SequenceExample` against a schema."""
    try:
        example = parse_example(record)
    except ValueError as error:
        return CheckedRecord((str(error),))
    context = example.context.feature
    problems = list(_context_problems(context, {schema.video_id: "bytes", **_KINDS}))
    lists = example.feature_lists.feature_list
    if set(lists) != {schema.frames}:
        problems.append(f"feature lists are {sorted(lists)}, not [{schema.frames!r}]")
    if problems:
        return CheckedRecord(tuple(problems))

    frames = lists[schema.frames].feature
    is_raw = bool(frames) and frames[0].WhichOneof("kind") == "float_list"
    frame_problem = _frame_problem(frames, is_raw)
    codes = b""
    if frame_problem:
        problems.append(frame_problem)
    elif not is_raw:
        codes = b"".join(frame.bytes_list.value[0] for frame in frames)
    segment = decode_context(example, split)
    if list(segment.labels) != sorted(set(segment.labels)):
        problems.append("labels are not sorted, or one is repeated")
    if not 0 <= segment.start_s < segment.end_s < float("inf"):
        return CheckedRecord((*problems, f"lasts from {segment.start_s} to {segment.end_s} s"))
    return CheckedRecord(tuple(problems), segment, codes, len(frames), is_raw)


def _context_problems(context: Mapping[str, Feature], kinds: Mapping[str, str]) -> Iterable[str]:
    if set(context) != set(kinds):
        yield f"context keys are {sorted(context)}, not {sorted(kinds)}"
        return
    for key, kind in kinds.items():
        found = context[key].WhichOneof("kind")
        # An empty list of labels is written as int64, but may be read without a kind.
        if found != f"{kind}_list" and not (key == LABELS and found is None):
            yield f"{key} is {found}, not {kind}_list"
        elif key != LABELS and len(getattr(context[key], f"{kind}_list").value) != 1:
            yield f"{key} does not have exactly one value"


def _frame_problem(frames: Sequence[Feature], is_raw: bool) -> str | None:
    for number, frame in enumerate(frames):
        floats, sizes = frame.float_list.value, [len(value) for value in frame.bytes_list.value]
        if not is_raw and sizes != [_FRAME_SIZE]:
            return f"frame {number} has bytes {sizes}, not [{_FRAME_SIZE}]"
        if is_raw and (len(floats) != _FRAME_SIZE or not np.isfinite(floats).all()):
            return f"frame {number} has {len(floats)} floats, not {_FRAME_SIZE} finite ones"
    return None
