"""Embeddings to shard files in the release's layout."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audioset.example import encode_example
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.segments import milliseconds
from transforms.audioset.tfrecord import frame_records
from transforms.clips import Piece, RejectedClip, reject
from transforms.errors import ClipError, Reason
from transforms.files import put_file

STAGE = "write_features"

Frames = tuple[Piece, np.ndarray]  # uint8[n, 128] or float32[n, 128]
Shard = tuple[str, str]  # split, name

_REJECTED = "rejected"


class WrittenFeatures(NamedTuple):
    """What `WriteFeatures` returns: PCollections of (split, records), one a shard, and of RejectedClip."""

    written: beam.PCollection[tuple[str, int]]
    rejected: beam.PCollection[RejectedClip]


def assemble_records(pieces: Iterable[Frames]) -> tuple[list[bytes], list[RejectedClip]]:
    """Puts the pieces of a shard's clips together.

    Of several clips with one id and start time the one whose file, and offset in it, sorts first is the
    record. A clip that was rejected on the way lacks its last piece, and is left out.

    Args:
      pieces: of all clips of a shard, in any order.

    Returns:
      The records by id and start time, and the clips that are duplicates.
    """
    records: list[bytes] = []
    duplicates: list[RejectedClip] = []
    ordered = sorted(
        pieces, key=lambda element: (*_record_key(element[0]), *_source(element[0]), element[0].index)
    )
    for _, same_record in itertools.groupby(ordered, key=lambda element: _record_key(element[0])):
        first: Piece | None = None
        for _, same_source in itertools.groupby(same_record, key=lambda element: _source(element[0])):
            clip = list(same_source)
            last = clip[-1][0]
            if last.segment is None:
                continue
            if first is None:
                first = last
                records.append(encode_example(last.segment, np.concatenate([frames for _, frames in clip])))
            else:
                where = first.file if first.offset is None else f"{first.file} at {first.offset}"
                error = ClipError(Reason.DUPLICATE, f"{where} is this clip already; it sorts first")
                duplicates.append(reject(last, STAGE, error))
    return records, duplicates


def _record_key(piece: Piece) -> tuple[str, int]:
    return piece.video_id, milliseconds(piece.start_s)


def _source(piece: Piece) -> tuple[str, int]:
    return piece.file, -1 if piece.offset is None else piece.offset


@dataclass
class WriteFeatures(beam.PTransform):
    """(Piece, uint8[n, 128] or float32[n, 128]) -> one file a shard.

    Records stand in a shard by id and start time, so that its bytes depend on nothing but the clips.

    Attributes:
      output: the feature folder.
      sharding: which shard a clip goes to.
    """

    output: str
    sharding: Sharding = Sharding()

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, frames: beam.PCollection[Frames]) -> WrittenFeatures:
        sharding = self.sharding
        outputs = (
            frames
            | "KeyByShard"
            >> beam.Map(lambda e: ((e[0].split, sharding.shard_name(e[0].split, e[0].video_id)), e))
            # (Shard, Frames): 1.5 kB for ten seconds, all that is shuffled of a clip's features
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards" >> beam.ParDo(_WriteShard(self.output)).with_outputs(_REJECTED, main="written")
        )
        return WrittenFeatures(outputs.written, outputs[_REJECTED])


class _WriteShard(beam.DoFn):
    def __init__(self, output: str):
        self._output = output

    def process(
        self, element: tuple[Shard, Iterable[Frames]]
    ) -> Iterator[tuple[str, int] | TaggedOutput[Literal["rejected"], RejectedClip]]:
        (split, name), pieces = element
        records, duplicates = assemble_records(pieces)
        for duplicate in duplicates:
            yield TaggedOutput(_REJECTED, duplicate)
        if records:  # a shard whose clips were all rejected on the way is no shard
            path = FileSystems.join(self._output, *shard_path(split, name).split("/"))
            put_file(path, frame_records(records))
            yield split, len(records)
