"""Embeddings to shard files in the release's layout."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audioset.example import AUDIOSET_SCHEMA, Schema
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.clips import Claim, ClipChunk, Key, RejectedClip
from transforms.features.assemble_clips import Frames, assemble_clips, decide
from transforms.features.open_shard import OpenShard, ShardFile
from transforms.features.own_shards import ShardNotes
from transforms.vggish.params import EMBEDDING_SIZE

# What `WriteFeatures` takes: (ClipChunk, features), and if need be Claim, and RejectedClip, a duplicate of an
# earlier run whose file this run does not read.
FEATURES, CLAIMS, EARLIER = "features", "claims", "earlier"

Shard = tuple[str, str]  # split, name
# A chunk and its frames as they are shuffled; see `pack_frames`.
PackedFrames = tuple[Any, ...]

_REJECTED, _REJECTED_EARLIER = "rejected", "rejected_earlier"
_SHARDS, _THERE = "shards", "there"
# Kinds of what is shuffled to a shard; the last is for a numbered shard without a clip.
_FRAMES, _CLAIM, _EARLIER, _EMPTY = range(4)


class WrittenFeatures(NamedTuple):
    """What `WriteFeatures` returns: PCollections of Key, one a new record; of ShardFile, one a shard that was
    written; of RejectedClip, of this run's inputs; of Key, one a record that was there and stays; and of
    RejectedClip, of inputs of earlier runs alone."""

    written: beam.PCollection[Key]
    shards: beam.PCollection[ShardFile]
    rejected: beam.PCollection[RejectedClip]
    existing: beam.PCollection[Key]
    earlier: beam.PCollection[RejectedClip]


def pack_frames(chunk: ClipChunk, frames: np.ndarray) -> PackedFrames:
    """A chunk and its frames as values that Beam encodes in little more than their own bytes.

    Of a dataclass or an array it would shuffle the names of the class and its fields with each element. The
    split is left to the key.
    """
    segment = chunk.segment
    return (
        chunk.file,
        chunk.offset,
        chunk.video_id,
        chunk.start_s,
        chunk.index,
        None if segment is None else (segment.end_s, segment.labels),
        chunk.sha256,
        frames.tobytes(),
        frames.dtype.str,
    )


def unpack_frames(split: str, packed: PackedFrames) -> Frames:
    """The inverse of `pack_frames`."""
    file, offset, video_id, start_s, index, ending, sha256, data, dtype = packed
    segment = None if ending is None else Segment(split, video_id, start_s, *ending)
    chunk = ClipChunk(file, offset, split, video_id, start_s, index, segment, sha256)
    return chunk, np.frombuffer(data, dtype).reshape(-1, EMBEDDING_SIZE)


def _pack_claim(claim: Claim) -> tuple[Any, ...]:
    """As `pack_frames`."""
    return claim.video_id, claim.start_s, claim.file, claim.offset, claim.sha256, claim.is_known


@dataclass
class WriteFeatures(beam.PTransform):
    """(ClipChunk, uint8[n, 128] or float32[n, 128]) -> one file per shard.

    Takes that collection, or a dict of FEATURES, CLAIMS and EARLIER.

    Of several inputs for one record the one whose path, and offset in it, sorts first is the record, whatever
    run read it; the others are duplicates. Records stand in a shard by id and start time, so that its bytes
    depend on nothing but the clips.

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
    def expand(self, inputs: beam.PCollection[Frames] | Mapping[str, beam.PCollection]) -> WrittenFeatures:
        if isinstance(inputs, beam.PCollection):
            inputs = {FEATURES: inputs}
        frames, sharding = inputs[FEATURES], self.sharding

        def shard(split: str, video_id: str) -> Shard:
            return split, sharding.shard_name(split, video_id)

        def features(chunk: ClipChunk, values: np.ndarray) -> tuple[Shard, tuple[int, PackedFrames]]:
            return shard(chunk.split, chunk.video_id), (_FRAMES, pack_frames(chunk, values))

        keyed = [frames | "KeyByShard" >> beam.MapTuple(features)]
        # (Shard, (kind, values)): 1.4 kB for ten seconds, all that is shuffled of a clip's features
        if CLAIMS in inputs:
            keyed.append(
                inputs[CLAIMS]
                | "KeyClaims" >> beam.Map(lambda c: (shard(c.split, c.video_id), (_CLAIM, _pack_claim(c))))
            )
        if EARLIER in inputs:
            keyed.append(
                inputs[EARLIER]
                | "KeyEarlier" >> beam.Map(lambda c: (shard(c.split, c.video_id), (_EARLIER, c.to_json())))
            )
        if sharding.num_shards:
            # Readers of numbered shards expect all of them, those without a clip too. So also where all clips
            # are there already: a run that was killed may not have come to those.
            splits = [frames | "Splits" >> beam.Map(lambda e: e[0].split)]
            if CLAIMS in inputs:
                splits.append(inputs[CLAIMS] | "SplitsThere" >> beam.Map(lambda claim: claim.split))
            keyed.append(
                splits
                | "AllSplits" >> beam.Flatten()
                | "DistinctSplits" >> beam.Distinct()
                | "AllShards"
                >> beam.FlatMap(
                    lambda split: [((split, name), (_EMPTY, ())) for name in sharding.all_names(split)]
                )
            )
        outputs = (
            (keyed | "AllInputs" >> beam.Flatten() if len(keyed) > 1 else keyed[0])
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards"
            >> beam.ParDo(_WriteShard(self.output, self.notes, self.schema)).with_outputs(
                _REJECTED, _SHARDS, _THERE, _REJECTED_EARLIER, main="written"
            )
        )
        return WrittenFeatures(
            outputs.written, outputs[_SHARDS], outputs[_REJECTED], outputs[_THERE], outputs[_REJECTED_EARLIER]
        )


class _WriteShard(beam.DoFn):
    def __init__(self, output: str, notes: ShardNotes | None, schema: Schema):
        self._output = output
        self._notes = notes
        self._schema = schema

    def process(
        self, element: tuple[Shard, Iterable[tuple[int, Any]]]
    ) -> Iterator[
        Key
        | TaggedOutput[Literal["rejected"], RejectedClip]
        | TaggedOutput[Literal["shards"], ShardFile]
        | TaggedOutput[Literal["there"], Key]
        | TaggedOutput[Literal["rejected_earlier"], RejectedClip]
    ]:
        (split, name), elements = element
        of_kind: dict[int, list[Any]] = defaultdict(list)
        for kind, values in elements:
            of_kind[kind].append(values)
        chunks = [unpack_frames(split, packed) for packed in of_kind[_FRAMES]]
        claims = [Claim(split, *packed) for packed in of_kind[_CLAIM]]
        earlier = [RejectedClip.from_row(row) for row in of_kind[_EARLIER]]
        clips = assemble_clips(chunks, self._schema)
        # Where all inputs are known to be those of their records, the shard need not be read.
        shard = OpenShard(self._output, split, name, self._notes)
        if clips or not all(claim.is_known for claim in claims):
            shard.read()
        contest = decide(clips, claims, earlier, shard.prior_sources(clip.key for clip in clips))
        for clip in contest.rejected:
            yield TaggedOutput(_REJECTED, clip)
        for clip in contest.earlier:
            yield TaggedOutput(_REJECTED_EARLIER, clip)
        for key in contest.there:
            yield TaggedOutput(_THERE, key)
        # A shard whose clips were all rejected on the way is no shard, unless it is one of a number.
        if contest.written or contest.adopted or (of_kind[_EMPTY] and not shard.is_there()):
            written = shard.put(contest)
            for assembled in contest.written:
                yield assembled.chunk.key
            if written is not None:
                yield TaggedOutput(_SHARDS, written)
