"""Encodes and decodes the released record: a `tf.train.SequenceExample` of one segment."""

from collections.abc import Iterable

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from transforms.audioset.schemas import AUDIOSET_SCHEMA, SCHEMAS, Schema
from transforms.audioset.segments import Segment
from transforms.example_protos import Feature, SequenceExample

START_TIME = "start_time_seconds"
END_TIME = "end_time_seconds"
LABELS = "labels"


def parse_example(record: bytes) -> SequenceExample:
    """Parse a record. Raises ValueError if it is not a SequenceExample."""
    try:
        return SequenceExample.FromString(record)
    except DecodeError as error:
        raise ValueError(f"not a SequenceExample ({error})") from error


def schema_of(example: SequenceExample) -> Schema:
    """Return the schema whose id key a record has; the release's if it has none."""
    context = example.context.feature
    return next((schema for schema in SCHEMAS.values() if schema.video_id in context), AUDIOSET_SCHEMA)


def encode_example(
    segment: Segment, embeddings: NDArray[np.uint8] | NDArray[np.float32], schema: Schema = AUDIOSET_SCHEMA
) -> bytes:
    """Serialize a segment and its embeddings as a record. The same input gives the same bytes.

    Args:
      segment: the segment; its split is not part of the record.
      embeddings: uint8[n, 128], stored as one bytes feature of 128 bytes per frame, as released; or raw
        float32[n, 128], stored as one float feature of 128 values per frame under the same key.
      schema: the record's keys.
    """
    example = SequenceExample()
    context = example.context.feature
    context[schema.video_id].bytes_list.value.append(segment.video_id.encode(errors="surrogateescape"))
    context[START_TIME].float_list.value.append(segment.start_s)
    context[END_TIME].float_list.value.append(segment.end_s)
    context[LABELS].int64_list.value.extend(segment.labels)
    frames = example.feature_lists.feature_list[schema.frames]
    for row in embeddings:
        if row.dtype == np.uint8:
            frames.feature.add().bytes_list.value.append(row.tobytes())
        else:
            frames.feature.add().float_list.value.extend(row.tolist())
    return example.SerializeToString(deterministic=True)


def decode_example(record: bytes, split: str) -> tuple[Segment, NDArray[np.uint8] | NDArray[np.float32]]:
    """Decode a record of any schema: the inverse of `encode_example`, but times are rounded to float32.

    Raises:
      ValueError: the record is not a SequenceExample, lacks a key, or has frames of unequal kind or length.
    """
    example = parse_example(record)
    segment = decode_context(example, split)
    key = schema_of(example).frames
    lists = example.feature_lists.feature_list
    if key not in lists:
        raise ValueError(f"lacks {key}")
    frames = lists[key].feature
    if has_floats(frames):
        return segment, np.array([frame.float_list.value for frame in frames], np.float32)
    try:
        rows = [np.frombuffer(frame.bytes_list.value[0], np.uint8) for frame in frames]
    except IndexError:
        raise ValueError("a frame has no value of its type") from None
    return segment, np.stack(rows) if rows else np.empty((0, 0), np.uint8)


def decode_segment(record: bytes, split: str) -> Segment:
    """Decode only the segment of a record, as `decode_example` does; its frames are not checked."""
    return decode_context(parse_example(record), split)


def has_floats(frames: Iterable[Feature]) -> bool:
    """Return whether any frame of a record is a list of floats and not of bytes."""
    return any(frame.WhichOneof("kind") == "float_list" for frame in frames)


def decode_context(example: SequenceExample, split: str) -> Segment:
    """Return the segment of a parsed record. Raises ValueError if it lacks a key."""
    context = example.context.feature
    if LABELS not in context:
        raise ValueError(f"lacks {LABELS}")
    try:
        return Segment(
            split,
            context[schema_of(example).video_id].bytes_list.value[0].decode(errors="surrogateescape"),
            context[START_TIME].float_list.value[0],
            context[END_TIME].float_list.value[0],
            tuple(context[LABELS].int64_list.value),
        )
    except IndexError:
        raise ValueError("a key has no value of its type") from None
