"""Finds the shards of a feature folder, released or computed, and reads their clips as arrays.

`dataset.py` is the loader for TensorFlow, `torch_dataset.py` the one for PyTorch.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audioset.example import decode_example, has_floats, parse_example, schema_of
from transforms.audioset.labels import NUM_CLASSES
from transforms.audioset.layout import SHARD_SUFFIX
from transforms.audioset.own_shards import MANIFEST_FILE, RUN_FOLDER, own_shards
from transforms.audioset.schemas import Schema
from transforms.errors import SettingError
from transforms.frameworks import tf
from transforms.storage.tfrecord import read_records
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import QUANTIZATION_RANGE, RELEASED_RANGE, QuantizationRange, dequantize

# Frames per clip of ten seconds.
NUM_FRAMES = 10
# Size of the shuffle buffer; a record of ten seconds takes 1.5 kB.
SHUFFLED_RECORDS = 16_384
_CODES = np.arange(256, dtype=np.uint8)
# Code -> dequantized value in the release.
VALUES = dequantize(_CODES)
VERIFY = "python -m pipeline.verify"

# Name -> value of a clip; see `read_clips`.
ClipArrays = dict[str, Any]
_Record = tuple[str, bytes]  # path of the shard, record


@dataclass(frozen=True)
class FeatureShards:
    """The shards of a feature folder or of one of its splits.

    Attributes:
      folder: as given.
      paths: of the shards, sorted.
      schema: the keys of their records.
      is_raw: their frames are 128 floats instead of 128 bytes.
      quantization: the range of values that the bytes represent, from the manifest of the run; without one,
        the release's.
    """

    folder: str
    paths: tuple[str, ...]
    schema: Schema
    is_raw: bool
    quantization: QuantizationRange = RELEASED_RANGE

    @property
    def values(self) -> NDArray[np.float32]:
        """Dequantized value of each code, float32[256]."""
        return dequantize(_CODES, self.quantization)

    @classmethod
    def find(cls, folder: str, raw: bool = False) -> "FeatureShards":
        """Find the shards, `DIR/SPLIT/*.tfrecord` or `DIR/*.tfrecord`, and read the first record.

        In a folder that runs of this pipeline wrote, only the shards that they wrote count.

        Args:
          folder: on any filesystem that TensorFlow supports.
          raw: whether raw embeddings are expected.

        Raises:
          SettingError: the folder, or a run's manifest or list of shards, cannot be read; no shard contains a
            record; or the frames are quantized and not raw, or raw and not quantized.
        """
        feature_folder, paths = _find_shards(folder)
        path, record = next(_read_shards(paths), (folder, None))
        if record is None:
            raise SettingError(
                f"{folder}: contains no *{SHARD_SUFFIX} with a record, nor do its subfolders; give a feature "
                "folder or one of its splits"
            )
        try:
            example = parse_example(record)
        except ValueError as error:
            raise SettingError(f"{path}: a record is {error}; give a feature folder") from error
        schema = schema_of(example)
        if has_floats(example.feature_lists.feature_list[schema.frames].feature) != raw:
            kind, expected = ("quantized", "raw") if raw else ("raw", "quantized")
            raise SettingError(
                f"{path}: its frames are {kind}, but {expected} frames are expected; give features made "
                f"with --postprocess={expected}"
            )
        return cls(folder, paths, schema, raw, _read_quantization(feature_folder))


def read_clips(
    shards: FeatureShards,
    num_classes: int = NUM_CLASSES,
    num_frames: int = NUM_FRAMES,
    shuffle: tuple[int, ...] | None = None,
    part: int = 0,
    num_parts: int = 1,
) -> Iterator[ClipArrays]:
    """Read clips one by one.

    Args:
      shards: the shards to read.
      num_classes: number of classes.
      num_frames: length in frames to which each clip is padded or cropped.
      shuffle: seeds; the same seeds give the same order. None keeps the stored order.
      part: number of the part of the shards to read, from 0.
      num_parts: number of parts; each has every `num_parts`-th shard.

    Yields:
      A dict: `video_id` (str), `embeddings` (float32[num_frames, 128], dequantized, with zeros after the
      clip's last frame), `num_frames` (int64, frames without padding) and `labels`
      (float32[num_classes], 0 or 1).

    Raises:
      SettingError: a shard cannot be read, a record has other features, or a label is not below
        `num_classes`.
    """
    paths = list(shards.paths)
    if shuffle is not None:
        paths = [paths[n] for n in np.random.default_rng(shuffle).permutation(len(paths))]
    records = _read_shards(paths[part::num_parts])
    if shuffle is not None:
        records = _shuffled(records, np.random.default_rng((*shuffle, part)))
    values = shards.values
    for path, record in records:
        yield _clip_arrays(path, record, shards.is_raw, values, num_classes, num_frames)


def beyond_list(num_classes: int) -> str:
    """Return the end of a message about a label that is too large."""
    return f"is beyond the list of {num_classes} classes; give the class labels that these features use"


def _find_shards(folder: str) -> tuple[str, tuple[str, ...]]:
    """Return the feature folder of a folder that may be a split, and the paths of the shards."""
    try:
        names = _list_folder(folder)
        shards = [name for name in names if name.endswith(SHARD_SUFFIX)]
        if shards:  # the folder is a split
            parent, split = os.path.split(folder.rstrip("/"))
            feature_folder = parent or "."
            own = _own_shards(feature_folder)
            shards = [name for name in shards if own is None or f"{split}/{name}" in own]
        else:
            feature_folder = folder
            own = _own_shards(folder)
            shards = [
                f"{split}/{name}"
                for split in names
                if tf.io.gfile.isdir(tf.io.gfile.join(folder, split))
                for name in _list_folder(tf.io.gfile.join(folder, split))
                if name.endswith(SHARD_SUFFIX) and (own is None or f"{split}/{name}" in own)
            ]
    except tf.errors.OpError as error:
        raise SettingError(f"{folder}: cannot be listed ({error.message}); check the path") from error
    return feature_folder, tuple(tf.io.gfile.join(folder, name) for name in shards)


def _list_folder(folder: str) -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))


def _own_shards(folder: str) -> frozenset[str] | None:
    """Return the shards that runs wrote to a feature folder; None if there was no run."""
    run_folder = tf.io.gfile.join(folder, RUN_FOLDER)
    if not tf.io.gfile.isdir(run_folder):
        return None

    def read(name: str) -> bytes:
        with tf.io.gfile.GFile(tf.io.gfile.join(run_folder, name), "rb") as file:
            return file.read()

    try:
        return own_shards(_list_folder(run_folder), read)
    except ValueError as error:
        raise SettingError(f"{run_folder}/{error}; restore the file from a backup") from error


def _read_quantization(feature_folder: str) -> QuantizationRange:
    path = tf.io.gfile.join(feature_folder, RUN_FOLDER, MANIFEST_FILE)
    try:
        if not tf.io.gfile.exists(path):
            return RELEASED_RANGE
        with tf.io.gfile.GFile(path, "rb") as file:
            settings = json.loads(file.read())["settings"]
        if QUANTIZATION_RANGE not in settings:  # older than fitted ranges
            return RELEASED_RANGE
        low, high = map(float, settings[QUANTIZATION_RANGE])
        return QuantizationRange(low, high)
    except (tf.errors.OpError, ValueError, LookupError, TypeError) as error:
        raise SettingError(f"{path}: cannot be read ({error}); restore or remove it") from error


def _read_shards(paths: Iterable[str]) -> Iterator[_Record]:
    for path in paths:
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                yield from ((path, record) for record in read_records(file))
        except (tf.errors.OpError, ValueError) as error:
            raise SettingError(f"{path}: cannot be read ({error}); for details run {VERIFY}") from error


def _clip_arrays(
    path: str, record: bytes, raw: bool, values: NDArray, num_classes: int, num_frames: int
) -> ClipArrays:
    try:
        segment, frames = decode_example(record, "")
        if frames.dtype != (np.float32 if raw else np.uint8) or frames.shape[1:] != (EMBEDDING_SIZE,):
            raise ValueError(f"its frames are {frames.dtype}{list(frames.shape)}")
    except ValueError as error:
        kind = "raw" if raw else "quantized"
        raise SettingError(
            f"{path}: a record does not contain {kind} features ({error}); for details run {VERIFY}"
        ) from error
    labels = np.zeros(num_classes, np.float32)
    for label in segment.labels:
        if not 0 <= label < num_classes:
            raise SettingError(f"{path}, clip {segment.video_id}: label {label} {beyond_list(num_classes)}")
        labels[label] = 1.0
    frames = frames[:num_frames]
    embeddings = np.zeros((num_frames, EMBEDDING_SIZE), np.float32)
    embeddings[: len(frames)] = frames if raw else values[frames]
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
        index = rng.integers(SHUFFLED_RECORDS)
        record, waiting[index] = waiting[index], record
        yield record
    for index in rng.permutation(len(waiting)):
        yield waiting[index]
