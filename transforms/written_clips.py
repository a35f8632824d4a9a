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
from transforms.files import FILE_ERRORS, exists, open_file
from transforms.own_shards import ShardNotes
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


def encode_note(contexts: Iterable[Context]) -> bytes:
    """What a note says of the clips of a shard; see `ShardNotes.note`."""
    return _all_digests(contexts).tobytes()


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
            contexts: list[Context] = []
            if self._notes.owns(split, name):
                contexts = [context for context, _ in read_shard_records(path)]
            # In this order: a shard that was read without a note had not changed.
            noted = self._notes.read(split, name)
            self._known[path] = _all_digests(contexts) if noted is None else np.frombuffer(noted, _DIGEST)
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
