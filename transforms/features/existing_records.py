"""Finds which clips already have their record in a feature folder."""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from transforms.audioset.example import END_TIME, LABELS, START_TIME, schema_of
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.segments import milliseconds
from transforms.clips import Clip
from transforms.errors import OutputError
from transforms.features.own_shards import ShardNotes
from transforms.features.sources import UNKNOWN, Source, Sources, read_sources, record_hash, sources_path
from transforms.frameworks import SequenceExample
from transforms.storage.files import exists, open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import read_records

RecordKey = tuple[str, int]  # video id, start in milliseconds

# Index of a record: hashes of its key, its source and its labels, and its end.
ROW = np.dtype([("key", "<u8"), ("source", "<u8"), ("labels", "<u8"), ("end_s", "<f4")])


@dataclass(frozen=True)
class Context:
    """The context of a record: its clip, with times rounded to float32 as in the record."""

    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]

    @property
    def key(self) -> RecordKey:
        """The record's key, by which records in a shard are sorted."""
        return record_key(self.video_id, self.start_s)


def record_key(video_id: str, start_s: float) -> RecordKey:
    """Return the key of a record; a time that is not yet rounded to float32 gives the same key."""
    return video_id, milliseconds(float(np.float32(start_s)))


def read_shard_records(path: str) -> list[tuple[Context, bytes]]:
    """Return the records of a shard of features; an empty list if the file does not exist.

    Raises:
      OutputError: the shard is damaged or cannot be read.
    """
    try:
        if not exists(path):
            return []
        with open_file(path) as file:
            return [(_read_context(record), record) for record in read_records(file)]
    except (*FILE_ERRORS, ValueError) as error:
        raise OutputError(
            f"{path}: is damaged or cannot be read ({error}); remove it and run the same command again: "
            "its clips are then computed again"
        ) from error


def _read_context(record: bytes) -> Context:
    try:
        example = SequenceExample.FromString(record)
        context = example.context.feature
        return Context(
            context[schema_of(example).video_id].bytes_list.value[0].decode(errors="surrogateescape"),
            context[START_TIME].float_list.value[0],
            context[END_TIME].float_list.value[0],
            tuple(context[LABELS].int64_list.value),
        )
    except Exception as error:  # protobuf's own DecodeError is not public
        raise ValueError(f"a record does not contain the features of a clip: {error!r}") from error


def clip_rows(records: Iterable[tuple[Context, bytes]], sources: Sources) -> NDArray:
    """Return the index of a shard's records: `ROW`s sorted by key."""
    rows = []
    for context, record in records:
        source = sources.get(record_hash(record))
        key = _hash(context.key)
        rows.append((key, source.hash if source else UNKNOWN, _hash(context.labels), context.end_s))
    return np.sort(np.array(rows, ROW), order="key")


def prior_sources(
    keys: Iterable[RecordKey], rows: NDArray, sources: Iterable[Source]
) -> dict[RecordKey, Source]:
    """Return the sources of records by key, for those whose source is known."""
    by_hash = {source.hash: source for source in sources}
    found = {}
    for key in keys:
        row = row_of(rows, key)
        if row is not None and (source := by_hash.get(int(row["source"]))):
            found[key] = source
    return found


def row_of(rows: NDArray, key: RecordKey) -> np.void | None:
    """Return the `ROW` of a clip in the index of its shard; None if there is none."""
    digest = np.uint64(_hash(key))
    index = np.searchsorted(rows["key"], digest)
    return rows[index] if index < len(rows) and rows["key"][index] == digest else None


def _hash(value: tuple) -> int:
    text = repr(value).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


class Presence(enum.Enum):
    """Whether a folder has a clip's record: no, yes, or a record whose source is unknown."""

    NO = 0
    YES = 1
    UNKNOWN = 2


class ExistingRecords:
    """Looks clips up in the shards of a feature folder, as it was before the run.

    Each shard is read when its first clip is looked up. Its index is kept, with 28 bytes per clip, so that it
    fits into memory for tens of millions of clips.

    Args:
      output: the feature folder.
      sharding: assigns clips to shards.
      notes: notes of the shards that the run has changed.
    """

    def __init__(self, output: str, sharding: Sharding, notes: ShardNotes):
        self._output = output
        self._sharding = sharding
        self._notes = notes
        self._rows_of_shard: dict[str, NDArray] = {}

    def find(self, clip: Clip) -> Presence:
        """Return whether a clip has a record of this input with its times and labels.

        If the clip's end is unknown, any end matches.
        """
        rows = self._rows(clip.split, self._sharding.shard_name(clip.split, clip.video_id))
        row = row_of(rows, record_key(clip.video_id, clip.start_s))
        if row is None or row["labels"] != np.uint64(_hash(clip.labels)):
            return Presence.NO
        if clip.end_s is not None and row["end_s"] != np.float32(clip.end_s):
            return Presence.NO
        if row["source"] == UNKNOWN:
            return Presence.UNKNOWN
        # If the record is of another input, the writer decides between the two.
        return Presence.YES if row["source"] == Source.of(clip.file, clip.offset).hash else Presence.NO

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
