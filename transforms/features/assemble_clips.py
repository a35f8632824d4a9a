"""The chunks of clips put together, and of several inputs for one record the one that counts."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from transforms.audioset.example import AUDIOSET_SCHEMA, Schema, encode_example
from transforms.clips import Claim, ClipChunk, Key, RejectedClip, reject
from transforms.errors import ClipError, Reason
from transforms.features.existing_records import RecordKey, record_key
from transforms.features.sources import Source
from transforms.storage.files import sha256_of_file

STAGE = "write_features"

Frames = tuple[ClipChunk, np.ndarray]  # uint8[n, 128] or float32[n, 128]


@dataclass(frozen=True)
class AssembledClip:
    """A record, ready to write.

    Attributes:
      chunk: the clip's last.
      record: serialised.
    """

    chunk: ClipChunk
    record: bytes

    @property
    def key(self) -> RecordKey:
        return record_key(self.chunk.video_id, self.chunk.start_s)

    @property
    def source(self) -> Source:
        return Source.of(self.chunk.file, self.chunk.offset)


def assemble_clips(chunks: Iterable[Frames], schema: Schema = AUDIOSET_SCHEMA) -> list[AssembledClip]:
    """Puts the chunks of a shard's clips together; a clip that was rejected lacks one and is left out.

    Args:
      chunks: of all clips of a shard, in any order.
      schema: the records' keys.

    Returns:
      The clips by id and start time; of several with one id and start time the one whose input counts first.
    """
    clips = []
    ordered = sorted(chunks, key=lambda element: (*_place(element[0]), element[0].index))
    for _, same_clip in itertools.groupby(ordered, key=lambda element: _place(element[0])):
        clip = list(same_clip)
        last = clip[-1][0]
        if last.segment is not None and len(clip) == last.index + 1:
            frames = np.concatenate([frames for _, frames in clip])
            clips.append(AssembledClip(last, encode_example(last.segment, frames, schema)))
    return clips


def _place(chunk: ClipChunk) -> tuple[str, int, Source]:
    return (*record_key(chunk.video_id, chunk.start_s), Source.of(chunk.file, chunk.offset))


@dataclass
class Contest:
    """What becomes of all inputs for the records of a shard.

    Attributes:
      written: clips whose records are new, or replace others.
      there: keys of inputs whose record was there and stays.
      rejected: inputs of the run that are duplicates.
      earlier: inputs of earlier runs, and none of this one's, that are duplicates.
      adopted: record key -> the input that is now known to be its source.
    """

    written: list[AssembledClip] = field(default_factory=list)
    there: list[Key] = field(default_factory=list)
    rejected: list[RejectedClip] = field(default_factory=list)
    earlier: list[RejectedClip] = field(default_factory=list)
    adopted: dict[RecordKey, Source] = field(default_factory=dict)


def decide(
    clips: Iterable[AssembledClip],
    claims: Iterable[Claim],
    earlier: Iterable[RejectedClip],
    prior: dict[RecordKey, Source],
) -> Contest:
    """Decides which input each record is made of: the least one, as if all runs had been one.

    Args:
      clips: computed by this run: there was no record, or one of another input or with other times or labels.
      claims: inputs of this run whose record is there.
      earlier: duplicates that earlier runs listed, and whose files this run does not read.
      prior: sources of the records before the run, where they are known.
    """
    contest = Contest()
    by_key: dict[RecordKey, tuple[list[AssembledClip], list[Claim], list[RejectedClip]]]
    by_key = defaultdict(lambda: ([], [], []))
    for clip in clips:
        by_key[clip.key][0].append(clip)
    for claim in claims:
        by_key[record_key(claim.video_id, claim.start_s)][1].append(claim)
    for duplicate in earlier:
        by_key[record_key(duplicate.video_id, duplicate.start_s)][2].append(duplicate)
    for key in sorted(by_key):
        new, there, listed = by_key[key]
        new.sort(key=lambda clip: clip.source)
        there.sort(key=_source)
        _decide_one(contest, key, new, there, listed, prior.get(key))
    return contest


def _decide_one(
    contest: Contest,
    key: RecordKey,
    new: Sequence[AssembledClip],
    there: Sequence[Claim],
    listed: Sequence[RejectedClip],
    prior: Source | None,
) -> None:
    holder = _source(there[0]) if there else prior
    if holder and not there and new:
        # It is computed again, with other times or labels; or it is gone, and another takes its place.
        is_computed = any(clip.source[:2] == holder[:2] for clip in new)
        if is_computed or not holder.is_there():
            holder = None
    if new and (holder is None or new[0].source < holder):
        winner = new[0].source
        contest.written.append(new[0])
        losers: list[ClipChunk | Claim] = [clip.chunk for clip in new[1:]]
        losers += there
        if holder and not there:
            chunk = new[0].chunk
            line = reject_displaced(chunk.split, chunk.video_id, chunk.start_s, holder, winner)
            contest.earlier.append(line)
    elif holder:
        winner = holder
        losers = [clip.chunk for clip in new]
        losers += there[1:]
        if there:
            contest.there.append(there[0].key)
            if not there[0].is_known:
                contest.adopted[key] = holder
    else:
        contest.earlier += listed
        return
    contest.rejected += [reject(loser, STAGE, _duplicate_of(winner)) for loser in losers]
    for clip in listed:
        is_lesser = winner < _source(clip)
        contest.earlier.append(replace(clip, message=str(_duplicate_of(winner))) if is_lesser else clip)


def _source(clip: Claim | RejectedClip) -> Source:
    return Source.of(clip.file, clip.offset)


def _duplicate_of(winner: Source) -> ClipError:
    return ClipError(Reason.DUPLICATE, f"{winner} is this clip already; it sorts first")


def reject_displaced(
    split: str, video_id: str, start_s: float, loser: Source, winner: Source
) -> RejectedClip:
    """The rejection of an input of an earlier run; of a shard's clip the hash is not known any more."""
    sha256 = sha256_of_file(loser.place) if loser.offset < 0 else None
    error = _duplicate_of(winner)
    return RejectedClip(
        split,
        video_id,
        start_s,
        loser.file,
        loser.place_in_shard,
        STAGE,
        error.reason,
        str(error),
        sha256,
    )


def merge_records(old: Iterable[tuple[RecordKey, bytes]], new: Iterable[AssembledClip]) -> list[bytes]:
    """The records of a shard that is added to, in order; of two for one clip the new one."""
    records = dict(old) | {clip.key: clip.record for clip in new}
    return [records[key] for key in sorted(records)]
