"""Embeddings to shard files in the release's layout."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audioset.example import AUDIOSET_SCHEMA, Schema, encode_example
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.segments import Segment
from transforms.clips import Key, Piece, RejectedClip, reject, sha256_of
from transforms.errors import ClipError, OutputError, Reason
from transforms.files import exists, put_output
from transforms.own_shards import ShardNotes
from transforms.tfrecord import frame_records
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.written_clips import RecordKey, encode_note, read_shard_records, record_key

STAGE = "write_features"

Frames = tuple[Piece, np.ndarray]  # uint8[n, 128] or float32[n, 128]
Shard = tuple[str, str]  # split, name
# A piece and its frames as they are shuffled; see `pack_frames`.
PackedFrames = tuple[Any, ...]

_REJECTED = "rejected"
_SHARDS = "shards"


@dataclass(frozen=True)
class ShardFile:
    """A shard as it was written.

    Attributes:
      path: below the feature folder, `SPLIT/NAME.tfrecord`.
      records, size_bytes, sha256: of the file.
    """

    path: str
    records: int
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class WrittenFeatures(NamedTuple):
    """What `WriteFeatures` returns: PCollections of Key, one a new record; of ShardFile, one a shard that was
    written; and of RejectedClip."""

    written: beam.PCollection[Key]
    shards: beam.PCollection[ShardFile]
    rejected: beam.PCollection[RejectedClip]


@dataclass(frozen=True)
class AssembledClip:
    """A record, ready to write.

    Attributes:
      piece: the clip's last.
      record: serialised.
    """

    piece: Piece
    record: bytes

    @property
    def key(self) -> RecordKey:
        return record_key(self.piece.video_id, self.piece.start_s)


def pack_frames(piece: Piece, frames: np.ndarray) -> PackedFrames:
    """A piece and its frames as values that Beam encodes in little more than their own bytes.

    Of a dataclass or an array it would shuffle the names of the class and its fields with each element. The
    split is left to the key.
    """
    segment = piece.segment
    return (
        piece.file,
        piece.offset,
        piece.video_id,
        piece.start_s,
        piece.index,
        None if segment is None else (segment.end_s, segment.labels),
        piece.sha256,
        frames.tobytes(),
        frames.dtype.str,
    )


def unpack_frames(split: str, packed: PackedFrames) -> Frames:
    """The inverse of `pack_frames`."""
    file, offset, video_id, start_s, index, ending, sha256, data, dtype = packed
    segment = None if ending is None else Segment(split, video_id, start_s, *ending)
    piece = Piece(file, offset, split, video_id, start_s, index, segment, sha256)
    return piece, np.frombuffer(data, dtype).reshape(-1, EMBEDDING_SIZE)


def assemble_clips(
    pieces: Iterable[Frames], schema: Schema = AUDIOSET_SCHEMA
) -> tuple[list[AssembledClip], list[RejectedClip]]:
    """Puts the pieces of a shard's clips together.

    Of several clips with one id and start time the one whose file, and offset in it, sorts first is the
    record. A clip that was rejected on the way lacks a piece, and is left out.

    Args:
      pieces: of all clips of a shard, in any order.
      schema: the records' keys.

    Returns:
      The records by id and start time, and the clips that are duplicates.
    """
    clips: list[AssembledClip] = []
    duplicates: list[RejectedClip] = []
    ordered = sorted(
        pieces, key=lambda element: (*_record_key(element[0]), *_source(element[0]), element[0].index)
    )
    for _, same_record in itertools.groupby(ordered, key=lambda element: _record_key(element[0])):
        first: Piece | None = None
        for _, same_source in itertools.groupby(same_record, key=lambda element: _source(element[0])):
            clip = list(same_source)
            last = clip[-1][0]
            if last.segment is None or len(clip) != last.index + 1:
                continue
            if first is None:
                first = last
                frames = np.concatenate([frames for _, frames in clip])
                record = encode_example(last.segment, frames, schema)
                clips.append(AssembledClip(last, record))
            else:
                where = first.file if first.offset is None else f"{first.file} at {first.offset}"
                error = ClipError(Reason.DUPLICATE, f"{where} is this clip already; it sorts first")
                duplicates.append(reject(last, STAGE, error))
    return clips, duplicates


def merge_records(old: Iterable[tuple[RecordKey, bytes]], new: Iterable[AssembledClip]) -> list[bytes]:
    """The records of a shard that is added to, in order; of two for one clip the new one."""
    records = dict(old) | {clip.key: clip.record for clip in new}
    return [records[key] for key in sorted(records)]


def _record_key(piece: Piece) -> RecordKey:
    return record_key(piece.video_id, piece.start_s)


def _source(piece: Piece) -> tuple[str, int]:
    return piece.file, -1 if piece.offset is None else piece.offset


@dataclass
class WriteFeatures(beam.PTransform):
    """(Piece, uint8[n, 128] or float32[n, 128]) -> one file a shard.

    Records stand in a shard by id and start time, so that its bytes depend on nothing but the clips.

    Attributes:
      output: the feature folder.
      sharding: which shard a clip goes to.
      notes: announce each shard there, with what it held before; keep the records of shards that the folder's
        runs wrote, and put the new ones among them. None: shards are replaced, whoever wrote them.
      schema: the records' keys.
    """

    output: str
    sharding: Sharding = Sharding()
    notes: ShardNotes | None = None
    schema: Schema = AUDIOSET_SCHEMA

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, frames: beam.PCollection[Frames]) -> WrittenFeatures:
        sharding = self.sharding
        keyed = frames | "KeyByShard" >> beam.MapTuple(
            lambda piece, e: (
                (piece.split, sharding.shard_name(piece.split, piece.video_id)),
                pack_frames(piece, e),
            )
        )
        # (Shard, PackedFrames): 1.4 kB for ten seconds, all that is shuffled of a clip's features
        if sharding.num_shards:
            # Readers of numbered shards expect all of them, those without a clip too.
            numbered = (
                frames
                | "Splits" >> beam.Map(lambda e: e[0].split)
                | "DistinctSplits" >> beam.Distinct()
                | "AllShards"
                >> beam.FlatMap(lambda split: [((split, name), None) for name in sharding.all_names(split)])
            )
            keyed = (keyed, numbered) | "WithEmptyShards" >> beam.Flatten()
        outputs = (
            keyed
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards"
            >> beam.ParDo(_WriteShard(self.output, self.notes, self.schema)).with_outputs(
                _REJECTED, _SHARDS, main="written"
            )
        )
        return WrittenFeatures(outputs.written, outputs[_SHARDS], outputs[_REJECTED])


class _WriteShard(beam.DoFn):
    def __init__(self, output: str, notes: ShardNotes | None, schema: Schema):
        self._output = output
        self._notes = notes
        self._schema = schema

    def process(
        self, element: tuple[Shard, Iterable[PackedFrames | None]]
    ) -> Iterator[
        Key | TaggedOutput[Literal["rejected"], RejectedClip] | TaggedOutput[Literal["shards"], ShardFile]
    ]:
        (split, name), elements = element[0], list(element[1])
        pieces = [unpack_frames(split, packed) for packed in elements if packed is not None]
        clips, duplicates = assemble_clips(pieces, self._schema)
        for duplicate in duplicates:
            yield TaggedOutput(_REJECTED, duplicate)
        relative = shard_path(split, name)
        path = FileSystems.join(self._output, *relative.split("/"))
        is_there = self._notes is not None and exists(path)
        if is_there and self._notes is not None and not self._notes.owns(split, name):
            raise OutputError(
                f"{path}: stands where a shard must go, and no run wrote it; move it away and run the same "
                "command again"
            )
        # A shard whose clips were all rejected on the way is no shard, unless it is one of a number.
        is_wanted = len(pieces) < len(elements) and not is_there
        if not clips and not is_wanted:
            return
        old = read_shard_records(path) if is_there else []
        if self._notes is not None:
            self._notes.note(split, name, encode_note(context for context, _ in old))
        records = merge_records([(context.key, record) for context, record in old], clips)
        data = frame_records(records)
        put_output(path, data)
        for clip in clips:
            yield clip.piece.key
        yield TaggedOutput(_SHARDS, ShardFile(relative, len(records), len(data), sha256_of(data)))
