"""Finds which clips already have their record in a feature folder."""

import hashlib
from collections.abc import Iterable

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from transforms.audioset.example import decode_segment
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.segments import Segment, milliseconds
from transforms.clips import AnyClip, Clip, ExistingClip
from transforms.errors import OutputError
from transforms.features.folder_shards import ShardNotes, UnchangedShards
from transforms.features.sources import UNKNOWN, Source, Sources, read_sources, record_hash, sources_path
from transforms.storage.files import exists, open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import read_records

RecordKey = tuple[str, int]  # video id, start in milliseconds

# Index of a record: hashes of its key, its source and its labels, and its end.
ROW = np.dtype([("key", "<u8"), ("source", "<u8"), ("labels", "<u8"), ("end_s", "<f4")])


def record_key(clip: AnyClip | Segment) -> RecordKey:
    """Return the key of a clip's record, by which a shard is sorted; records have times in float32."""
    return clip.video_id, milliseconds(float(np.float32(clip.start_s)))


def read_shard_records(path: str) -> list[tuple[Segment, bytes]]:
    """Return the records of a shard, none if the file does not exist; raise OutputError if it is damaged."""
    try:
        if not exists(path):
            return []
        with open_file(path) as file:
            return [(decode_segment(record, path.split("/")[-2]), record) for record in read_records(file)]
    except (*FILE_ERRORS, ValueError) as error:
        raise OutputError(
            f"{path}: is damaged or cannot be read ({error}); remove it and run the same command again: "
            "its clips are then computed again"
        ) from error


def clip_rows(records: Iterable[tuple[Segment, bytes]], sources: Sources) -> NDArray:
    """Return the index of a shard's records: `ROW`s sorted by key."""
    rows = []
    for segment, record in records:
        source = sources.get(record_hash(record))
        key, labels = hash_values(record_key(segment)), hash_values(segment.labels)
        rows.append((key, source.hash if source else UNKNOWN, labels, segment.end_s))
    return np.sort(np.array(rows, ROW), order="key")


def row_of(rows: NDArray, key: RecordKey) -> np.void | None:
    """Return the `ROW` of a clip in the index of its shard; None if there is none."""
    digest = np.uint64(hash_values(key))
    index = np.searchsorted(rows["key"], digest)
    return rows[index] if index < len(rows) and rows["key"][index] == digest else None


def hash_values(values: tuple) -> int:
    """Return a 64-bit hash. The chance that any two of 20 million clips collide is 1 in 90,000."""
    return int.from_bytes(hashlib.sha256(repr(values).encode()).digest()[:8], "little")


class ExistingRecords:
    """Looks clips up in the shards of a feature folder, as it was before the run.

    Each shard is read when its first clip is looked up. Its index is kept, with 28 bytes per clip, so that it
    fits into memory for tens of millions of clips.

    Args:
      output: the feature folder.
      sharding: assigns clips to shards.
      notes: notes of the shards that the run has changed; or, without a run, the shards.
    """

    def __init__(self, output: str, sharding: Sharding, notes: ShardNotes | UnchangedShards):
        self._output = output
        self._sharding = sharding
        self._notes = notes
        self._rows_of_shard: dict[str, NDArray] = {}

    def find(self, clip: Clip) -> ExistingClip | None:
        """Return a clip if it has a record of this or an unknown input, with its times and labels.

        If the clip's end is unknown, any end matches.
        """
        rows = self._rows(clip.split, self._sharding.shard_name(clip.split, clip.video_id))
        row = row_of(rows, record_key(clip))
        if row is None or row["labels"] != np.uint64(hash_values(clip.labels)):
            return None
        if clip.end_s is not None and row["end_s"] != np.float32(clip.end_s):
            return None
        is_known = bool(row["source"] != UNKNOWN)
        if is_known and row["source"] != np.uint64(Source.of(clip).hash):
            return None  # the record is of another input: the writer decides between the two
        where = (clip.split, clip.video_id, clip.start_s, clip.file, clip.offset)
        return ExistingClip(*where, clip.sha256, is_known)

    def _rows(self, split: str, name: str) -> NDArray:
        path = FileSystems.join(self._output, *shard_path(split, name).split("/"))
        if path not in self._rows_of_shard:
            rows = np.empty(0, ROW)
            if self._notes.owns(split, name):
                records = read_shard_records(path)
                rows = clip_rows(records, read_sources(sources_path(self._output, split, name)))
            # The note is read after the shard: if there is still no note, the shard had not changed.
            noted = self._notes.read(split, name)
            self._rows_of_shard[path] = rows if noted is None else np.frombuffer(noted, ROW)
        return self._rows_of_shard[path]
