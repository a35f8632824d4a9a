"""Loads feature folders, released or computed, as `tf.data` datasets that are parsed batch by batch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transforms.audioset.example import LABELS
from transforms.audioset.reading import (
    NUM_CLASSES,
    NUM_FRAMES,
    SHUFFLED_RECORDS,
    VERIFY,
    FeatureShards,
    beyond_list,
)
from transforms.errors import SettingError
from transforms.frameworks import tf
from transforms.vggish.params import EMBEDDING_SIZE

# Shards that are read concurrently, and consecutive records taken from each.
_OPEN_SHARDS, _BLOCK_RECORDS = 16, 16
# TensorFlow quotes the message of a failed assertion in this form.
_ASSERTION = re.compile(r"assertion failed: \[(.*?)\](?:\s|$)", re.DOTALL)


def load_dataset(
    folder: str,
    num_classes: int = NUM_CLASSES,
    num_frames: int = NUM_FRAMES,
    batch_size: int = 256,
    shuffle_seed: int | None = None,
    raw: bool = False,
    dequantized: bool = True,
) -> tf.data.Dataset:
    """Load batches of clips from a feature folder, or from one of its splits.

    Iterate over the dataset inside `reading(folder)`: an invalid record then gives one line instead of
    TensorFlow's stack trace.

    Args:
      folder: contains `SPLIT/*.tfrecord` or `*.tfrecord`, on any filesystem that TensorFlow supports.
      num_classes: number of classes; the release has 527.
      num_frames: length in frames to which each clip is padded or cropped.
      batch_size: clips per batch; the last may have fewer.
      shuffle_seed: seed of the order of clips, which differs at each iteration; None keeps the stored order.
      raw: frames are raw embeddings (--postprocess=raw).
      dequantized: return quantized frames as the values that they represent; otherwise as the stored bytes.

    Returns:
      A dataset of dicts: `video_id` (string[b]), `embeddings` (float32[b, num_frames, 128], or uint8; zeros
      after a clip's last frame), `num_frames` (int32[b], frames without padding) and `labels`
      (float32[b, num_classes], 0 or 1).

    Raises:
      SettingError: there is no shard, or its frames are quantized and not raw, or raw and not quantized.
    """
    shards = FeatureShards.find(folder, raw)
    paths = tf.data.Dataset.from_tensor_slices(list(shards.paths))
    if shuffle_seed is not None:
        paths = paths.shuffle(len(shards.paths), shuffle_seed)
    records = paths.interleave(
        tf.data.TFRecordDataset,
        cycle_length=_OPEN_SHARDS,
        block_length=_BLOCK_RECORDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if shuffle_seed is not None:
        records = records.shuffle(SHUFFLED_RECORDS, shuffle_seed)

    def parse(batch: Any) -> dict[str, Any]:
        return _parse(batch, shards, num_classes, num_frames, dequantized)

    batches = records.batch(batch_size).map(parse, tf.data.AUTOTUNE, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


@contextmanager
def reading(folder: str) -> Iterator[None]:
    """Convert TensorFlow's errors about a record into a one-line error.

    Raises:
      SettingError: a shard is damaged, a record has other features, or a label is not below `num_classes`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Parsing raises InvalidArgumentError; reading raises DataLossError, NotFoundError and others.
        match = _ASSERTION.search(error.message)
        cause = match[1] if match else f"a record cannot be read ({error.message.splitlines()[0]})"
        raise SettingError(f"{folder}: {cause}; for details run {VERIFY}") from error


def _parse(
    records: Any, shards: FeatureShards, num_classes: int, num_frames: int, dequantized: bool
) -> dict[str, Any]:
    schema = shards.schema
    if shards.is_raw:
        frame = tf.io.FixedLenSequenceFeature([EMBEDDING_SIZE], tf.float32)
    else:
        frame = tf.io.FixedLenSequenceFeature([], tf.string)
    context, lists, lengths = tf.io.parse_sequence_example(
        records,
        {schema.video_id: tf.io.FixedLenFeature([], tf.string), LABELS: tf.io.VarLenFeature(tf.int64)},
        {schema.frames: frame},
    )
    video_ids = context[schema.video_id]
    frames = lists[schema.frames][:, :num_frames]
    lengths = tf.minimum(tf.cast(lengths[schema.frames], tf.int32), num_frames)
    padding = [[0, 0], [0, num_frames - tf.shape(frames)[1]]]
    is_frame = tf.sequence_mask(lengths, num_frames)[..., tf.newaxis]  # False in the padding
    if shards.is_raw:
        embeddings = tf.pad(frames, [*padding, [0, 0]])
    else:
        frames = tf.pad(frames, padding, constant_values="")
        frames = _check_sizes(video_ids, frames, is_frame[..., 0])
        embeddings = tf.io.decode_raw(frames, tf.uint8, fixed_length=EMBEDDING_SIZE)
        if dequantized:
            embeddings = tf.where(is_frame, tf.gather(shards.values, tf.cast(embeddings, tf.int32)), 0.0)
    return {
        "video_id": video_ids,
        "embeddings": tf.ensure_shape(embeddings, [None, num_frames, EMBEDDING_SIZE]),
        "num_frames": lengths,
        "labels": _multi_hot(video_ids, context[LABELS], num_classes),
    }


def _check_sizes(video_ids: Any, frames: Any, is_frame: Any) -> Any:
    """Return the frames after a check of their size; decode_raw would pad or cut them silently."""
    wrong = tf.where(is_frame & (tf.strings.length(frames) != EMBEDDING_SIZE))[:1, 0]
    words = ["clip ", tf.gather(video_ids, wrong), f" has a frame that is not {EMBEDDING_SIZE} bytes"]
    with tf.control_dependencies([_assert_empty(wrong, words)]):
        return tf.identity(frames)


def _multi_hot(video_ids: Any, labels: Any, num_classes: int) -> Any:
    """Convert labels, a tf.SparseTensor int64[b, n], to float32[b, num_classes]."""
    rows, values = labels.indices[:, 0], labels.values
    wrong = tf.where((values < 0) | (values >= num_classes))[:1, 0]
    clip, label = tf.gather(video_ids, tf.gather(rows, wrong)), tf.strings.as_string(tf.gather(values, wrong))
    words = ["clip ", clip, ": label ", label, " ", beyond_list(num_classes)]
    with tf.control_dependencies([_assert_empty(wrong, words)]):
        indices = tf.stack([rows, values], axis=1)
    hot = tf.zeros([tf.size(video_ids), num_classes])
    return tf.tensor_scatter_nd_max(hot, indices, tf.ones([tf.size(values)]))


def _assert_empty(wrong: Any, words: list[Any]) -> Any:
    return tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [tf.strings.join(words)])
