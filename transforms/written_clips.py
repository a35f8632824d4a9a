"""Which clips have their record in a feature folder already."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray
from tensorflow.core.example.example_pb2 import SequenceExample

from transforms.audioset.example import END_TIME, LABELS, START_TIME, schema_of
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.segments import milliseconds
from transforms.clips import Clip
from transforms.errors import OutputError
from transforms.files import FILE_ERRORS, exists, open_file, put_output
from transforms.tfrecord import read_records

RecordKey = tuple[str, int]  # video id, start in milliseconds

_DIGEST = np.dtype("<u8")


@dataclass(frozen=True)
class Context:
    """What a record says of its clip, with times as a record has them: rounded to float32."""

    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]

    @property
    def key(self) -> RecordKey:
        """What two records of one clip share, and what they stand in order of."""
        return record_key(self.video_id, self.start_s)


def record_key(video_id: str, start_s: float) -> RecordKey:
    """The key of a record, whether the time is a record's or not yet rounded to float32."""
    return video_id, milliseconds(float(np.float32(start_s)))


def read_shard_records(path: str) -> list[tuple[Context, bytes]]:
    """The records of a shard of features; none if there is no such file.

    Raises:
      OutputError: it is damaged, or cannot be read.
    """
    try:
        if not exists(path):
            return []
        with open_file(path) as file:
            return [(_read_context(record), record) for record in read_records(file)]
    except (*FILE_ERRORS, ValueError) as error:
        raise OutputError(
            f"{path}: is damaged or cannot be read ({error}); remove it and run the same command again: "
            "its clips are then computed anew"
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
        raise ValueError(f"a record is no features of a clip: {error!r}") from error


class ShardNotes:
    """What shards held before a run, noted before the run changes them.

    An engine that lost a worker does part of its work again, or all. To a clip that is looked up again its
    shard may have changed meanwhile, and what the run itself wrote would count as there already.

    Args:
      prefix: path that the notes' names begin with, a file for each shard.
    """

    def __init__(self, prefix: str):
        self._prefix = prefix

    def note(self, split: str, name: str, contexts: Iterable[Context]) -> None:
        """Notes the clips of a shard that is to be changed; the first note of a run stays.

        Raises:
          OutputError: it cannot be written.
        """
        if not exists(self._path(split, name)):
            put_output(self._path(split, name), _all_digests(contexts).tobytes())

    def read(self, split: str, name: str) -> NDArray[np.uint64] | None:
        """The digests of a shard's clips before the run; None if it is as it was."""
        path = self._path(split, name)
        if not exists(path):
            return None
        with open_file(path) as file:
            return np.frombuffer(file.read(), _DIGEST)

    def _path(self, split: str, name: str) -> str:
        return f"{self._prefix}-{split}-{name}"


class WrittenClips:
    """Looks clips up in the shards of a feature folder, as it was before the run.

    Each shard is read when the first of its clips is asked for, and its clips are remembered in 16 bytes
    each, so that a process can know tens of millions.

    Args:
      output: the feature folder.
      sharding: which shard a clip is in.
      notes: of the shards that the run has changed.
    """

    def __init__(self, output: str, sharding: Sharding, notes: ShardNotes):
        self._output = output
        self._sharding = sharding
        self._notes = notes
        self._known: dict[str, NDArray[np.uint64]] = {}

    def has(self, clip: Clip) -> bool:
        """Whether a clip has a record with its times and labels; an end that is not known is any."""
        start_s, end_s = float(np.float32(clip.start_s)), clip.end_s
        end_s = None if end_s is None else float(np.float32(end_s))
        known = self._digests(clip.split, self._sharding.shard_name(clip.split, clip.video_id))
        digest = _digest(clip.video_id, start_s, end_s, clip.labels)
        place = np.searchsorted(known, digest)
        return bool(place < len(known) and known[place] == digest)

    def _digests(self, split: str, name: str) -> NDArray[np.uint64]:
        path = FileSystems.join(self._output, *shard_path(split, name).split("/"))
        if path not in self._known:
            contexts = [context for context, _ in read_shard_records(path)]
            # In this order: a shard that was read without a note had not changed.
            noted = self._notes.read(split, name)
            self._known[path] = _all_digests(contexts) if noted is None else noted
        return self._known[path]


def _all_digests(contexts: Iterable[Context]) -> NDArray[np.uint64]:
    """Two of each clip, sorted: with its end, and for those who do not know it."""
    digests = [
        _digest(context.video_id, context.start_s, end_s, context.labels)
        for context in contexts
        for end_s in (None, context.end_s)
    ]
    return np.unique(np.array(digests, _DIGEST))


def _digest(video_id: str, start_s: float, end_s: float | None, labels: tuple[int, ...]) -> np.uint64:
    text = repr((video_id, start_s, end_s, labels)).encode()
    return np.frombuffer(hashlib.sha256(text).digest()[:8], _DIGEST)[0]
