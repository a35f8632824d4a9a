"""Reads all records of a feature folder, each one once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from transforms.audioset.segments import Segment
from transforms.errors import OutputError, SettingError
from transforms.features.folder_shards import find_shards
from transforms.features.record_index import decode_embeddings
from transforms.stage import Stage
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import read_records

# Kinds of frames: the release's bytes, and float32 embeddings.
QUANTIZED, RAW = "quantized", "raw"

Features = tuple[Segment, np.ndarray]  # uint8[n, 128] or float32[n, 128]


def kind_of(frames: np.ndarray) -> str:
    """Return QUANTIZED for bytes, RAW for floats."""
    return QUANTIZED if frames.dtype == np.uint8 else RAW


def read_shard(path: str) -> Iterator[Features]:
    """Yield a shard's records. Raise OutputError if it cannot be read, or a record has no valid features."""
    number = 0
    try:
        with open_file(path) as file:
            for record in read_records(file):
                yield decode_embeddings(record, path.split("/")[-2])
                number += 1
    except (*FILE_ERRORS, ValueError) as error:
        raise OutputError(
            f"{path}, record {number}: {error}; python -m pipeline.verify lists all problems of a folder"
        ) from error


def find_kind(paths: Iterable[str]) -> str | None:
    """Return the kind of the first frames in shards; None if there are no frames. Errors as `read_shard`."""
    return next((kind_of(frames) for path in paths for _, frames in read_shard(path) if len(frames)), None)


@dataclass
class ReadFeatures(Stage):
    """Reads all records of a folder.

    Attributes:
      folder: path of the feature folder.
      kind: the kind that all frames must have.
      classes: valid indices of labels; None: all are valid.
    """

    folder: str
    kind: str
    classes: frozenset[int] | None = None

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[Features]:
        return (
            pbegin.pipeline
            | "Folder" >> beam.Create([self.folder])
            | "FindShards" >> beam.FlatMap(lambda folder: find_shards(folder).to_read)
            | "Spread" >> beam.Reshuffle()
            | "ReadShard" >> beam.FlatMap(_read_checked, self.kind, self.classes)
        )


def _read_checked(path: str, kind: str, classes: frozenset[int] | None) -> Iterator[Features]:
    for segment, frames in read_shard(path):
        where = f"{path}: {segment.video_id!r} at {segment.start_s} s"
        if len(frames) and kind_of(frames) != kind:
            raise SettingError(
                f"{where} has {kind_of(frames)} frames, but others in the folder are {kind}; "
                "give a folder with one kind of frames"
            )
        for label in segment.labels:
            if classes is not None and label not in classes:
                raise SettingError(
                    f"{where} has label {label}, which is not one of the {len(classes)} class labels; "
                    "give the labels that the folder was made with as --class_labels=CSV"
                )
        yield segment, frames
