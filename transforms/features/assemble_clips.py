"""Assembles the chunks of clips, and decides which of several inputs becomes a record."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from transforms.audioset.example import encode_example
from transforms.audioset.schemas import AUDIOSET_SCHEMA, Schema
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk, ExistingClip, Key, RejectedClip, reject
from transforms.errors import ClipError, Reason
from transforms.features.existing_records import RecordKey, record_key
from transforms.features.sources import Source
from transforms.storage.files import sha256_of_file

STAGE = "write_features"

Frames = tuple[ClipChunk, np.ndarray]  # uint8[n, 128] or float32[n, 128]


@dataclass(frozen=True)
class AssembledClip:
    """A record, ready to write."""

    chunk: ClipChunk  # the last chunk of the clip
    record: bytes  # the serialized SequenceExample

    @property
    def key(self) -> RecordKey:
        return record_key(self.chunk)

    @property
    def source(self) -> Source:
        return Source.of(self.chunk)


def assemble_clips(chunks: Iterable[Frames], schema: Schema = AUDIOSET_SCHEMA) -> list[AssembledClip]:
    """Assemble the chunks of a shard's clips; a clip without all its chunks was rejected, and is left out.

    Args:
      chunks: chunks of all clips of a shard, in any order.
      schema: the records' keys.

    Returns:
      The clips in order of id, start time and input.
    """
    clips = []
    ordered = sorted(chunks, key=lambda element: (*_clip_order(element[0]), element[0].index))
    for _, same_clip in itertools.groupby(ordered, key=lambda element: _clip_order(element[0])):
        clip = list(same_clip)
        last = clip[-1][0]
        if last.segment is not None and len(clip) == last.index + 1:
            frames = np.concatenate([frames for _, frames in clip])
            clips.append(AssembledClip(last, encode_example(last.segment, frames, schema)))
    return clips


def _clip_order(chunk: ClipChunk) -> tuple[str, int, Source]:
    return (*record_key(chunk), Source.of(chunk))


@dataclass
class Decisions:
    """The outcomes of all inputs for the records of a shard.

    Attributes:
      written: clips whose records are new or replace others.
      existing: keys of inputs whose record exists and stays.
      rejected: inputs of this run that are duplicates.
      rejected_earlier: duplicates that only earlier runs read.
      new_sources: record key -> input, for existing records whose unknown source is now known.
    """

    written: list[AssembledClip] = field(default_factory=list)
    existing: list[Key] = field(default_factory=list)
    rejected: list[RejectedClip] = field(default_factory=list)
    rejected_earlier: list[RejectedClip] = field(default_factory=list)
    new_sources: dict[RecordKey, Source] = field(default_factory=dict)


def decide(
    clips: Iterable[AssembledClip],
    existing: Iterable[ExistingClip],
    earlier: Iterable[RejectedClip],
    prior: dict[RecordKey, Source],
) -> Decisions:
    """Decide which input becomes each record: the one that sorts first, as if all runs had been one run.

    For example, a run reads `b/x.wav` and `c/x.wav`, which have the same id: `b/x.wav` becomes the record,
    and `c/x.wav` is a duplicate. If a later run reads `a/x.wav`, it replaces the record, and `b/x.wav`
    becomes a duplicate too.

    Args:
      clips: clips that this run computed, since there was no record, or one of another input or with other
        times or labels.
      existing: inputs of this run whose record exists.
      earlier: duplicates that earlier runs listed, and whose files this run does not read.
      prior: the known sources of the records before this run.
    """
    decisions = Decisions()
    by_key: dict[RecordKey, tuple[list[AssembledClip], list[ExistingClip], list[RejectedClip]]]
    by_key = defaultdict(lambda: ([], [], []))
    for clip in clips:
        by_key[clip.key][0].append(clip)
    for input_clip in existing:
        by_key[record_key(input_clip)][1].append(input_clip)
    for duplicate in earlier:
        by_key[record_key(duplicate)][2].append(duplicate)
    for key in sorted(by_key):
        new, known, listed = by_key[key]
        new.sort(key=lambda clip: clip.source)
        known.sort(key=Source.of)
        _decide_record(decisions, key, new, known, listed, prior.get(key))
    return decisions


def _decide_record(
    decisions: Decisions,
    key: RecordKey,
    new: Sequence[AssembledClip],
    existing: Sequence[ExistingClip],
    listed: Sequence[RejectedClip],
    prior: Source | None,
) -> None:
    current = Source.of(existing[0]) if existing else prior  # source of the record before this run
    if current and not existing and new:
        # The current source was computed again, with other times or labels; or its file is gone.
        is_computed = any(clip.source[:2] == current[:2] for clip in new)
        if is_computed or not current.exists():
            current = None
    if new and (current is None or new[0].source < current):
        chosen = new[0].source
        decisions.written.append(new[0])
        duplicates: list[ClipChunk | ExistingClip] = [clip.chunk for clip in new[1:]]
        duplicates += existing
        if current and not existing:
            decisions.rejected_earlier.append(reject_displaced(new[0].chunk, current, chosen))
    elif current:
        chosen = current
        duplicates = [clip.chunk for clip in new]
        duplicates += existing[1:]
        if existing:
            decisions.existing.append(existing[0].key)
            if not existing[0].is_known:
                decisions.new_sources[key] = current
    else:
        decisions.rejected_earlier += listed
        return
    error = _duplicate_of(chosen)
    decisions.rejected += [reject(duplicate, STAGE, error) for duplicate in duplicates]
    for clip in listed:
        sorts_later = chosen < Source.of(clip)
        decisions.rejected_earlier.append(replace(clip, message=str(error)) if sorts_later else clip)


def _duplicate_of(chosen: Source) -> ClipError:
    return ClipError(Reason.DUPLICATE, f"{chosen} is this clip already; it sorts first")


def reject_displaced(clip: ClipChunk | Segment, displaced: Source, chosen: Source) -> RejectedClip:
    """Return the rejected clip for an input of an earlier run; the hash of a shard's clip is unknown."""
    sha256 = sha256_of_file(displaced.path) if displaced.offset < 0 else None
    where = (clip.split, clip.video_id, clip.start_s, displaced.file, displaced.shard_offset)
    return RejectedClip(*where, STAGE, Reason.DUPLICATE, str(_duplicate_of(chosen)), sha256)
