"""Encodes and decodes the released record: a `tf.train.SequenceExample` of one segment."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from transforms.audioset.segments import Segment
from transforms.frameworks import SequenceExample

START_TIME = "start_time_seconds"
END_TIME = "end_time_seconds"
LABELS = "labels"


@dataclass(frozen=True)
class Schema:
    """The keys that differ between the two projects whose training code reads such records.

    Attributes:
      name: of the project, as a value of `--output_schema`.
      video_id: context key of the clip's id.
      frames: feature-list key of its frames.
    """

    name: str
    video_id: str
    frames: str


AUDIOSET_SCHEMA = Schema("audioset", "video_id", "audio_embedding")
# Frame-level features of YouTube-8M since 2018 (google/youtube-8m, readers.py). Its readers ignore unknown
# keys, and therefore the times.
YOUTUBE8M_SCHEMA = Schema("youtube8m", "id", "audio")
SCHEMAS = {schema.name: schema for schema in (AUDIOSET_SCHEMA, YOUTUBE8M_SCHEMA)}


def schema_of(example: SequenceExample) -> Schema:
    """Return the schema whose id key a record has; the release's if it has none."""
    context = example.context.feature
    return next((schema for schema in SCHEMAS.values() if schema.video_id in context), AUDIOSET_SCHEMA)


def encode_example(
    segment: Segment,
    embeddings: NDArray[np.uint8] | NDArray[np.float32],
    schema: Schema = AUDIOSET_SCHEMA,
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
    try:
        example = SequenceExample.FromString(record)
    except DecodeError as error:
        raise ValueError(f"not a SequenceExample ({error})") from error
    schema = schema_of(example)
    context = example.context.feature
    lists = example.feature_lists.feature_list
    try:
        segment = Segment(
            split,
            context[schema.video_id].bytes_list.value[0].decode(errors="surrogateescape"),
            context[START_TIME].float_list.value[0],
            context[END_TIME].float_list.value[0],
            tuple(context[LABELS].int64_list.value) if LABELS in context else _lacks(LABELS),
        )
        frames = lists[schema.frames].feature if schema.frames in lists else _lacks(schema.frames)
        if any(frame.WhichOneof("kind") == "float_list" for frame in frames):
            return segment, np.array([frame.float_list.value for frame in frames], np.float32)
        rows = [np.frombuffer(frame.bytes_list.value[0], np.uint8) for frame in frames]
    except IndexError:
        raise ValueError("a key or a frame has no value of its type") from None
    return segment, np.stack(rows) if rows else np.empty((0, 0), np.uint8)


def _lacks(key: str) -> NoReturn:
    raise ValueError(f"lacks {key}")
