"""The released record: a `tf.train.SequenceExample` of one segment."""

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.example.example_pb2 import SequenceExample

from transforms.audioset.segments import Segment

VIDEO_ID = "video_id"
START_TIME = "start_time_seconds"
END_TIME = "end_time_seconds"
LABELS = "labels"
AUDIO_EMBEDDING = "audio_embedding"
CONTEXT_KEYS = (VIDEO_ID, START_TIME, END_TIME, LABELS)


def encode_example(segment: Segment, embeddings: NDArray[np.uint8] | NDArray[np.float32]) -> bytes:
    """A segment and its embeddings as a serialised record; the same input gives the same bytes.

    Args:
      segment: its split is not part of the record.
      embeddings: uint8[n, 128], a bytes feature of 128 bytes a frame as released; or float32[n, 128]
        (raw), a float feature of 128 values a frame under the same key.
    """
    example = SequenceExample()
    context = example.context.feature
    context[VIDEO_ID].bytes_list.value.append(segment.video_id.encode(errors="surrogateescape"))
    context[START_TIME].float_list.value.append(segment.start_s)
    context[END_TIME].float_list.value.append(segment.end_s)
    context[LABELS].int64_list.value.extend(segment.labels)
    frames = example.feature_lists.feature_list[AUDIO_EMBEDDING]
    for row in embeddings:
        if row.dtype == np.uint8:
            frames.feature.add().bytes_list.value.append(row.tobytes())
        else:
            frames.feature.add().float_list.value.extend(row.tolist())
    return example.SerializeToString(deterministic=True)


def decode_example(record: bytes, split: str) -> tuple[Segment, NDArray[np.uint8] | NDArray[np.float32]]:
    """The inverse of `encode_example`, for records of one kind of frame; times are float32 in a record.

    Raises:
      ValueError: the record is no SequenceExample, or lacks a key, or has frames of unlike length.
    """
    try:
        example = SequenceExample.FromString(record)
    except Exception as error:  # protobuf's own DecodeError is not public
        raise ValueError(f"not a SequenceExample ({error})") from error
    context = example.context.feature
    lists = example.feature_lists.feature_list
    try:
        segment = Segment(
            split,
            context[VIDEO_ID].bytes_list.value[0].decode(errors="surrogateescape"),
            context[START_TIME].float_list.value[0],
            context[END_TIME].float_list.value[0],
            tuple(context[LABELS].int64_list.value) if LABELS in context else _lacks(LABELS),
        )
        frames = lists[AUDIO_EMBEDDING].feature if AUDIO_EMBEDDING in lists else _lacks(AUDIO_EMBEDDING)
        if any(frame.WhichOneof("kind") == "float_list" for frame in frames):
            return segment, np.array([frame.float_list.value for frame in frames], np.float32)
        rows = [np.frombuffer(frame.bytes_list.value[0], np.uint8) for frame in frames]
    except IndexError:
        raise ValueError("a key or a frame has no value of its type") from None
    return segment, np.stack(rows) if rows else np.empty((0, 0), np.uint8)


def _lacks(key: str) -> NoReturn:
    raise ValueError(f"lacks {key}")
