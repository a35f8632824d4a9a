"""Feature folders read back, the release's and own ones: their shards, and their clips as arrays.

`dataset.py` gives them to TensorFlow, `torch_dataset.py` to PyTorch.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.audioset.example import Schema, decode_example, schema_of
from transforms.audioset.layout import SHARD_SUFFIX
from transforms.audioset.own_shards import RUN_FOLDER, own_shards
from transforms.errors import SettingError
from transforms.frameworks import SequenceExample, tf
from transforms.storage.tfrecord import read_records
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import dequantize

# Classes of the release, and frames of its clips of ten seconds.
NUM_CLASSES = 527
NUM_FRAMES = 10
# Records that wait to be drawn at random, 1.5 kB each of ten seconds.
SHUFFLED_RECORDS = 16_384
# What each code stands for.
VALUES = dequantize(np.arange(256, dtype=np.uint8))

# A clip's values by name; see `read_clips`.
ClipArrays = dict[str, Any]
_Record = tuple[str, bytes]  # path of its shard, and itself


@dataclass(frozen=True)
class FeatureShards:
    """The shards of a feature folder or of one of its splits.

    Attributes:
      folder: as given.
      paths: of the shards, sorted.
      schema: the keys of their records.
      is_raw: their frames are 128 floats, and not 128 bytes.
    """

    folder: str
    paths: tuple[str, ...]
    schema: Schema
    is_raw: bool

    @classmethod
    def find(cls, folder: str, raw: bool = False) -> "FeatureShards":
        """Finds shards, `DIR/SPLIT/*.tfrecord` or `DIR/*.tfrecord`, and looks at the first record.

        Where runs of this pipeline wrote the folder, its shards are those that they wrote, and no other file.

        Args:
          folder: on any filesystem that TensorFlow knows.
          raw: whether frames are to be raw embeddings.

        Raises:
          SettingError: the folder, or a run's list of its shards, cannot be read, or there is no shard with a
            record in it; or its frames are quantized and not raw, or raw and not quantized.
        """
        paths = _shard_paths(folder)
        for path in paths:
            example = _first_example(path)
            if example is None:
                continue
            schema = schema_of(example)
            frames = example.feature_lists.feature_list[schema.frames].feature
            is_raw = any(frame.WhichOneof("kind") == "float_list" for frame in frames)
            if is_raw != raw:
                kind, wanted = ("raw", "quantized") if is_raw else ("quantized", "raw")
                raise SettingError(
                    f"{path}: its frames are {kind}, where {wanted} ones are expected; give features made "
                    f"with --postprocess={wanted}"
                )
            return cls(folder, paths, schema, is_raw)
        raise SettingError(
            f"{folder}: no *{SHARD_SUFFIX} with a record in it, nor in the folders in it; give a feature "
            "folder or one of its splits"
        )


def read_clips(
    shards: FeatureShards,
    num_classes: int = NUM_CLASSES,
    num_frames: int = NUM_FRAMES,
    shuffle: tuple[int, ...] | None = None,
    part: int = 0,
    num_parts: int = 1,
) -> Iterator[ClipArrays]:
    """Reads clips one after the other.

    Args:
      shards: where from.
      num_classes: of the list of labels.
      num_frames: what each clip is padded or cropped to.
      shuffle: seeds; None leaves clips as they stand. The same seeds give the same order.
      part, num_parts: which of so many equal shares of the shards to read.

    Yields:
      A clip's `video_id` (str), `embeddings` (float32[num_frames, 128], dequantized to [-2, 2], with zeros
      after its last frame), `num_frames` (int64, of those that are its own) and `labels`
      (float32[num_classes], 0 or 1).

    Raises:
      SettingError: a shard cannot be read, or a record is none of such features, or has a label beyond the
        list.
    """
    paths = list(shards.paths)
    if shuffle is not None:
        paths = [paths[n] for n in np.random.default_rng(shuffle).permutation(len(paths))]
    records: Iterator[_Record] = (
        (path, record) for path in paths[part::num_parts] for record in _read_shard(path)
    )
    if shuffle is not None:
        records = _shuffled(records, np.random.default_rng((*shuffle, part)))
    for path, record in records:
        yield _clip_arrays(path, record, shards.is_raw, num_classes, num_frames)


def beyond_list(num_classes: int) -> str:
    """What to say of a label."""
    return f"is beyond the list of {num_classes} classes; give the class labels that these features use"


def _shard_paths(folder: str) -> tuple[str, ...]:
    try:
        names = _listed(folder)
        here = [name for name in names if name.endswith(SHARD_SUFFIX)]
        if here:
            above, split = os.path.split(folder.rstrip("/"))
            own = _own_shards(above or ".")
            here = [name for name in here if own is None or f"{split}/{name}" in own]
        else:
            own = _own_shards(folder)
            splits = [name for name in names if tf.io.gfile.isdir(tf.io.gfile.join(folder, name))]
            shards = [
                f"{split}/{name}"
                for split in splits
                for name in _listed(tf.io.gfile.join(folder, split))
                if name.endswith(SHARD_SUFFIX)
            ]
            here = [shard for shard in shards if own is None or shard in own]
    except tf.errors.OpError as error:
        raise SettingError(f"{folder}: cannot be listed ({error.message}); check the path") from error
    return tuple(tf.io.gfile.join(folder, name) for name in here)


def _listed(folder: str) -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def _own_shards(folder: str) -> frozenset[str] | None:
    """The shards that runs wrote to a feature folder; None if there was no run."""
    run_folder = tf.io.gfile.join(folder, RUN_FOLDER)
    if not tf.io.gfile.isdir(run_folder):
        return None

    def read(name: str) -> bytes:
        with tf.io.gfile.GFile(tf.io.gfile.join(run_folder, name), "rb") as file:
            return file.read()

    try:
        return own_shards(_listed(run_folder), read)
    except ValueError as error:
        raise SettingError(f"{run_folder}/{error}; restore it from a copy") from error


def _first_example(path: str) -> SequenceExample | None:
    record = next(_read_shard(path), None)
    try:
        return None if record is None else SequenceExample.FromString(record)
    except Exception as error:  # protobuf's own DecodeError is not public
        raise SettingError(f"{path}: holds no SequenceExample ({error}); give a feature folder") from error


def _read_shard(path: str) -> Iterator[bytes]:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            yield from read_records(file)
    except (tf.errors.OpError, ValueError) as error:
        raise SettingError(
            f"{path}: cannot be read ({error}); python -m pipeline.verify says more"
        ) from error


def _clip_arrays(path: str, record: bytes, is_raw: bool, num_classes: int, num_frames: int) -> ClipArrays:
    try:
        segment, frames = decode_example(record, "")
        if frames.dtype != (np.float32 if is_raw else np.uint8) or frames.shape[1:] != (EMBEDDING_SIZE,):
            raise ValueError(f"its frames are {frames.dtype}{list(frames.shape)}")
    except ValueError as error:
        kind = "raw" if is_raw else "quantized"
        raise SettingError(
            f"{path}: a record is none of {kind} features ({error}); python -m pipeline.verify says more"
        ) from error
    labels = np.zeros(num_classes, np.float32)
    for label in segment.labels:
        if not 0 <= label < num_classes:
            raise SettingError(f"{path}, clip {segment.video_id}: label {label} {beyond_list(num_classes)}")
        labels[label] = 1.0
    frames = frames[:num_frames]
    embeddings = np.zeros((num_frames, EMBEDDING_SIZE), np.float32)
    embeddings[: len(frames)] = frames if is_raw else VALUES[frames]
    return {
        "video_id": segment.video_id,
        "embeddings": embeddings,
        "num_frames": np.int64(len(frames)),
        "labels": labels,
    }


def _shuffled(records: Iterator[_Record], rng: np.random.Generator) -> Iterator[_Record]:
    waiting: list[_Record] = []
    for record in records:
        if len(waiting) < SHUFFLED_RECORDS:
            waiting.append(record)
            continue
        place = rng.integers(SHUFFLED_RECORDS)
        record, waiting[place] = waiting[place], record
        yield record
    for place in rng.permutation(len(waiting)):
        yield waiting[place]
