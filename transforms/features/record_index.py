"""An index of the positions of records, with 32 bytes per clip, and a reader of records by position."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audioset.example import decode_example
from transforms.audioset.segments import Segment
from transforms.clips import AnyClip
from transforms.features.existing_records import hash_values, record_key
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import read_records
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange

# Hashes of the clip's key and labels, its end, and the shard and byte at which its record begins.
ROW = np.dtype([("key", "<u8"), ("labels", "<u8"), ("end_s", "<f4"), ("shard", "<u4"), ("offset", "<u8")])

# An open file of an object store has a buffer of some megabytes.
_MAX_OPEN = 16


@dataclass(frozen=True)
class RecordIndex:
    """The clips of a feature folder.

    Attributes:
      folder, paths: the folder, and its shards.
      rows: `ROW`s sorted by key, one per clip; `shard` is an index into the paths.
      quantization: the range of values that the bytes of its frames represent.
    """

    folder: str
    paths: tuple[str, ...]
    rows: NDArray
    quantization: QuantizationRange = RELEASED_RANGE

    @classmethod
    def of(
        cls,
        folder: str,
        paths: Iterable[str],
        shards: Iterable[NDArray],
        quantization: QuantizationRange = RELEASED_RANGE,
    ) -> "RecordIndex":
        """Combine the rows of all shards; the first of several records for a clip is kept."""
        numbered = [np.empty(0, ROW), *shards]
        for number, shard_rows in enumerate(numbered[1:]):
            shard_rows["shard"] = number
        rows = np.concatenate(numbered)
        _, first = np.unique(rows["key"], return_index=True)
        return cls(folder, tuple(paths), rows[first], quantization)


def decode_embeddings(record: bytes, split: str) -> tuple[Segment, NDArray]:
    """Return a record's clip and its frames, uint8[n, 128] or float32[n, 128]; ValueError if not valid."""
    segment, frames = decode_example(record, split)
    if len(frames) and (frames.shape[1] != EMBEDDING_SIZE or not np.isfinite(frames).all()):
        raise ValueError("its frames are not valid embeddings")
    return segment, frames


class RecordReader:
    """Reads records by position; the most recently used files stay open."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()

    def __enter__(self) -> "RecordReader":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def read(self, path: str, offset: int) -> tuple[Segment, NDArray]:
        """Return the clip and the frames of the record at a byte offset; ValueError if it is damaged."""
        try:
            file = self._file(path)
            file.seek(offset)
            return decode_embeddings(next(read_records(file), b""), path.split("/")[-2])
        except (*FILE_ERRORS, ValueError) as error:
            raise ValueError(f"{path}: the record at byte {offset} is damaged ({error})") from error

    def _file(self, path: str) -> BinaryIO:
        if path not in self._files:
            if len(self._files) >= _MAX_OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[path] = open_file(path)
        self._files.move_to_end(path)
        return self._files[path]


def hash_clip(clip: AnyClip | Segment) -> int:
    """Return the `key` of a clip's row."""
    return hash_values((clip.split, *record_key(clip)))
