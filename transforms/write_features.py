"""Embeddings to shard files in the release's layout."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audioset.layout import Sharding
from transforms.audioset.schemas import AUDIOSET_SCHEMA, Schema
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk, ExistingClip, Key, RejectedClip
from transforms.features.assemble_clips import Frames, assemble_clips, decide
from transforms.features.folder_shards import ShardNotes
from transforms.features.open_shard import OpenShard, ShardFile
from transforms.stage import Stage
from transforms.vggish.params import EMBEDDING_SIZE

# Inputs of `WriteFeatures`: (ClipChunk, features), and optionally ExistingClip, and RejectedClip for
# duplicates of earlier runs whose files this run does not read.
FEATURES, EXISTING_CLIPS, EARLIER = "features", "existing", "earlier"

Shard = tuple[str, str]  # split, name
# A chunk and its frames in the form that is shuffled; see `pack_frames`.
PackedFrames = tuple[Any, ...]

# Outputs of `_WriteShard`, by the fields of WrittenFeatures; its main output is "written".
_SHARDS, _REJECTED, _EXISTING, _REJECTED_EARLIER = "shards", "rejected", "existing", "earlier"
# Kinds of elements that are shuffled to a shard; the last one makes a numbered shard without clips exist.
_FRAMES, _EXISTING_CLIP, _EARLIER, _EMPTY = range(4)
_KINDS = {FEATURES: _FRAMES, EXISTING_CLIPS: _EXISTING_CLIP, EARLIER: _EARLIER}


class WrittenFeatures(NamedTuple):
    """What `WriteFeatures` returns: PCollections of Key, one per new record; of ShardFile, one per written
    shard; of RejectedClip, for inputs of this run; of Key, one per existing record that stays; and of
    RejectedClip, for inputs that only earlier runs read."""

    written: beam.PCollection[Key]
    shards: beam.PCollection[ShardFile]
    rejected: beam.PCollection[RejectedClip]
    existing: beam.PCollection[Key]
    earlier: beam.PCollection[RejectedClip]


def pack_frames(chunk: ClipChunk, frames: np.ndarray) -> PackedFrames:
    """Return a chunk and its frames as a tuple that Beam encodes with little overhead.

    For a dataclass or an array, Beam would shuffle the names of the class and its fields with each element.
    The split is not included, since the key has it.
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
    """Return the chunk and frames that `pack_frames` packed."""
    file, offset, video_id, start_s, index, ending, sha256, data, dtype = packed
    segment = None if ending is None else Segment(split, video_id, start_s, *ending)
    chunk = ClipChunk(file, offset, split, video_id, start_s, index, segment, sha256)
    return chunk, np.frombuffer(data, dtype).reshape(-1, EMBEDDING_SIZE)


def _keyed(element: Any, kind: int, sharding: Sharding) -> tuple[Shard, tuple[int, Any]]:
    """Return an input of `WriteFeatures` with its shard, in the form that is shuffled."""
    clip = element[0] if kind == _FRAMES else element
    values: Any
    if kind == _FRAMES:
        values = pack_frames(*element)  # 1.4 kB per clip of ten seconds; no other features are shuffled
    elif kind == _EXISTING_CLIP:
        values = (clip.video_id, clip.start_s, clip.file, clip.offset, clip.sha256, clip.is_known)
    else:
        values = clip.to_json()
    return (clip.split, sharding.shard_name(clip.split, clip.video_id)), (kind, values)


@dataclass
class WriteFeatures(Stage):
    """(ClipChunk, uint8[n, 128] or float32[n, 128]) -> one file per shard.

    Takes this collection, or a dict of FEATURES, EXISTING_CLIPS and EARLIER.

    If several inputs have the same clip, the one whose path (and offset) sorts first becomes the record,
    whichever run read it; the others are duplicates. Records in a shard are sorted by id and start time, so
    that its bytes depend only on the clips.

    Attributes:
      output: the feature folder.
      sharding: assigns clips to shards.
      notes: each shard gets a note with its earlier state, and new records are merged into the shards of
        earlier runs. None: existing shards are replaced, including those that no run wrote.
      schema: the records' keys.
    """

    output: str
    sharding: Sharding = Sharding()
    notes: ShardNotes | None = None
    schema: Schema = AUDIOSET_SCHEMA

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, inputs: beam.PCollection[Frames] | Mapping[str, beam.PCollection]) -> WrittenFeatures:
        if isinstance(inputs, beam.PCollection):
            inputs = {FEATURES: inputs}
        sharding = self.sharding
        keyed = [
            inputs[name] | f"Key{name.capitalize()}" >> beam.Map(_keyed, kind, sharding)
            for name, kind in _KINDS.items()
            if name in inputs
        ]
        # (Shard, (kind, values))
        if sharding.num_shards:
            # Readers of numbered shards expect all of them, including those without clips. Splits without new
            # clips need them too: a run that was killed may not have written the empty shards.
            splits = [inputs[FEATURES] | "Splits" >> beam.Map(lambda e: e[0].split)]
            if EXISTING_CLIPS in inputs:
                splits.append(inputs[EXISTING_CLIPS] | "ExistingSplits" >> beam.Map(lambda clip: clip.split))
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
            keyed
            | "AllInputs" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShards"
            >> beam.ParDo(_WriteShard(self.output, self.notes, self.schema)).with_outputs(
                _REJECTED, _SHARDS, _EXISTING, _REJECTED_EARLIER, main="written"
            )
        )
        return WrittenFeatures(*(outputs[name] for name in WrittenFeatures._fields))


class _WriteShard(beam.DoFn):
    def __init__(self, output: str, notes: ShardNotes | None, schema: Schema):
        self._output, self._notes, self._schema = output, notes, schema

    def process(
        self, element: tuple[Shard, Iterable[tuple[int, Any]]]
    ) -> Iterator[
        Key
        | TaggedOutput[Literal["rejected"], RejectedClip]
        | TaggedOutput[Literal["shards"], ShardFile]
        | TaggedOutput[Literal["existing"], Key]
        | TaggedOutput[Literal["earlier"], RejectedClip]
    ]:
        (split, name), elements = element
        by_kind: dict[int, list[Any]] = defaultdict(list)
        for kind, values in elements:
            by_kind[kind].append(values)
        chunks = [unpack_frames(split, packed) for packed in by_kind[_FRAMES]]
        existing = [ExistingClip(split, *packed) for packed in by_kind[_EXISTING_CLIP]]
        earlier = [RejectedClip.from_row(row) for row in by_kind[_EARLIER]]
        clips = assemble_clips(chunks, self._schema)
        # The shard need not be read if it gets no new records and the sources of all existing ones are known.
        shard = OpenShard(self._output, split, name, self._notes)
        if clips or not all(clip.is_known for clip in existing):
            shard.read()
        decisions = decide(clips, existing, earlier, shard.prior_sources(clip.key for clip in clips))
        for clip in decisions.rejected:
            yield TaggedOutput(_REJECTED, clip)
        for clip in decisions.rejected_earlier:
            yield TaggedOutput(_REJECTED_EARLIER, clip)
        for key in decisions.existing:
            yield TaggedOutput(_EXISTING, key)
        # Without records, only a numbered shard is written.
        if decisions.written or decisions.new_sources or (by_kind[_EMPTY] and not shard.exists()):
            written = shard.write(decisions)
            for assembled in decisions.written:
                yield assembled.chunk.key
            if written is not None:
                yield TaggedOutput(_SHARDS, written)
