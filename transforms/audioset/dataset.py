"""Feature folders as `tf.data`: the release's and own ones alike, parsed a batch at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transforms.audioset.example import LABELS
from transforms.audioset.reading import (
    NUM_CLASSES,
    NUM_FRAMES,
    SHUFFLED_RECORDS,
    VALUES,
    FeatureShards,
    beyond_list,
)
from transforms.errors import SettingError
from transforms.frameworks import tf
from transforms.vggish.params import EMBEDDING_SIZE

# Shards read at a time, and records that each gives before the next one's turn.
_OPEN_SHARDS, _BLOCK_RECORDS = 16, 16
# How TensorFlow quotes the message of an assertion that failed.
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
    """Batches of clips of a feature folder, or of one of its splits.

    Iterate over it inside `reading(folder)`: a faulty record is then one line, and no stack of TensorFlow's.

    Args:
      folder: holds `SPLIT/*.tfrecord` or `*.tfrecord`, on any filesystem that TensorFlow knows.
      num_classes: of the list of labels; the release has 527.
      num_frames: what each clip is padded or cropped to.
      batch_size: clips a batch; the last may have fewer.
      shuffle_seed: of the order of clips, another at each iteration; None leaves them as they stand.
      raw: frames are raw embeddings, as of --postprocess=raw.
      dequantized: give quantized frames as values in [-2, 2]; else as the bytes that they are.

    Returns:
      A dataset of dicts: `video_id` (string[b]), `embeddings` (float32[b, num_frames, 128], or uint8; zeros
      after a clip's last frame), `num_frames` (int32[b], of those that are the clip's own) and `labels`
      (float32[b, num_classes], 0 or 1).

    Raises:
      SettingError: there is no shard, or its frames are of the other kind.
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
    """Says in one line what is wrong with a record that TensorFlow could not read.

    Raises:
      SettingError: a shard is damaged, or a record is none of such features, or has a label beyond the list.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Parsing fails with InvalidArgumentError, and reading with DataLossError, NotFoundError and others.
        said = _ASSERTION.search(error.message)
        cause = said[1] if said else f"a record cannot be read ({error.message.splitlines()[0]})"
        raise SettingError(f"{folder}: {cause}; python -m pipeline.verify says more") from error


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
        {
            schema.video_id: tf.io.FixedLenFeature([], tf.string),
            LABELS: tf.io.VarLenFeature(tf.int64),
        },
        {schema.frames: frame},
    )
    video_ids = context[schema.video_id]
    frames, own = lists[schema.frames], tf.cast(lengths[schema.frames], tf.int32)
    frames, own = frames[:, :num_frames], tf.minimum(own, num_frames)
    padding = [[0, 0], [0, num_frames - tf.shape(frames)[1]]]
    is_own = tf.sequence_mask(own, num_frames)[..., tf.newaxis]
    if shards.is_raw:
        embeddings = tf.pad(frames, [*padding, [0, 0]])
    else:
        frames = tf.pad(frames, padding, constant_values="")
        frames = _check_sizes(video_ids, frames, is_own[..., 0])
        embeddings = tf.io.decode_raw(frames, tf.uint8, fixed_length=EMBEDDING_SIZE)
        if dequantized:
            embeddings = tf.where(is_own, tf.gather(VALUES, tf.cast(embeddings, tf.int32)), 0.0)
    return {
        "video_id": video_ids,
        "embeddings": tf.ensure_shape(embeddings, [None, num_frames, EMBEDDING_SIZE]),
        "num_frames": own,
        "labels": _multi_hot(video_ids, context[LABELS], num_classes),
    }


def _check_sizes(video_ids: Any, frames: Any, is_own: Any) -> Any:
    """The frames as they are; decode_raw pads what is too short and cuts what is too long without a word."""
    wrong = tf.where(is_own & (tf.strings.length(frames) != EMBEDDING_SIZE))[:1, 0]
    words = ["clip ", tf.gather(video_ids, wrong), f" has a frame that is not {EMBEDDING_SIZE} bytes"]
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [tf.strings.join(words)])]
    ):
        return tf.identity(frames)


def _multi_hot(video_ids: Any, labels: Any, num_classes: int) -> Any:
    """tf.SparseTensor int64[b, n] -> float32[b, num_classes]."""
    rows, values = labels.indices[:, 0], labels.values
    wrong = tf.where((values < 0) | (values >= num_classes))[:1, 0]
    clip, label = tf.gather(video_ids, tf.gather(rows, wrong)), tf.strings.as_string(tf.gather(values, wrong))
    words = ["clip ", clip, ": label ", label, " ", beyond_list(num_classes)]
    with tf.control_dependencies(
        [tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [tf.strings.join(words)])]
    ):
        places = tf.stack([rows, values], axis=1)
    hot = tf.zeros([tf.size(video_ids), num_classes])
    return tf.tensor_scatter_nd_max(hot, places, tf.ones([tf.size(values)]))
