"""What a run would do, and how long it may take, found out without writing anything."""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pipeline.config import Config, make_job
from pipeline.folder import FeatureFolder
from pipeline.graph import FeatureJob
from pipeline.option_groups import RAW
from pipeline.progress import duration
from pipeline.summary import size, table
from transforms.audioset.example import encode_example
from transforms.clips import Clip
from transforms.embed_examples import Examples, embed_pieces
from transforms.errors import ClipError
from transforms.files import match_sizes
from transforms.read_clips import AUDIO, AUTO, clips_of_file, file_clips
from transforms.shards.sniff import shard_format
from transforms.tfrecord import HEADER_BYTES
from transforms.vggish.params import EMBEDDING_SIZE

_TRIAL_S = 2.0
# Clips that a trial takes from an input, and input shards that are looked into for their number of clips.
_OF_INPUT, _SHARDS_COUNTED = 8, 2


@dataclasses.dataclass(frozen=True)
class Trial:
    """Some clips, embedded as the run would.

    Attributes:
      clips, frames, audio_s: that were embedded.
      wall_s: the time that it took; without loading the model.
      record_bytes: of their records.
    """

    clips: int
    frames: int
    audio_s: float
    wall_s: float
    record_bytes: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
      inputs: form -> number of files.
      input_bytes: of all of them.
      clips: that they give.
      is_estimate: clips were not counted, but follow from some of the inputs.
      feature_shards: files of features.
      there: files of features that the output has already.
      trial: of a few clips.
    """

    inputs: dict[str, int]
    input_bytes: int
    clips: int
    is_estimate: bool
    feature_shards: int | None
    there: int
    trial: Trial

    @property
    def feature_bytes(self) -> float:
        return self.clips * self.trial.record_bytes / max(1, self.trial.clips)

    @property
    def wall_s(self) -> float | None:
        """Time that all clips take at the trial's speed; None if no clip could be embedded."""
        return self.clips * self.trial.wall_s / self.trial.clips if self.trial.clips else None

    def lines(self) -> list[str]:
        """The plan for a person."""
        trial, about = self.trial, "about " if self.is_estimate else ""
        shards = "number unknown before the shards are read"
        if self.feature_shards is not None:
            shards = f"{self.feature_shards:,} shards"
        forms = ", ".join(f"{n:,} {form}" for form, n in sorted(self.inputs.items()))
        rows = {
            "inputs": f"{forms}, {size(self.input_bytes)}",
            "clips": f"{about}{self.clips:,}",
            "there": f"{self.there:,} shards; their clips are not computed again" if self.there else "",
            "features": f"{shards}, about {size(self.feature_bytes)}",
            "trial": "no clip of the first inputs could be embedded",
        }
        if self.wall_s is not None:
            speed = trial.audio_s / trial.wall_s
            rows["trial"] = (
                f"{trial.clips} clips in {trial.wall_s:.1f} s, {trial.clips / trial.wall_s:,.1f} clips/s, "
                f"{speed:,.0f}x real time"
            )
            rows["time"] = f"about {duration(self.wall_s)} in one process on this machine"
        rows["next"] = "the same command without --plan; nothing was written"
        return table(rows)

    def to_json(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "feature_bytes": round(self.feature_bytes),
            "wall_seconds": self.wall_s and round(self.wall_s, 3),
        }


def make_plan(config: Config) -> Plan:
    """Looks at a run's inputs, and tries some for two seconds."""
    sizes = dict(found for pattern in config.options.input for found in match_sizes(pattern))
    paths = list(sizes) or list(config.clips.rejects.index().files if config.clips.rejects else ())
    forms = Counter(_form(config, path) for path in paths)
    shards = [path for path in paths if _form(config, path) != AUDIO]
    table_of = config.clips.segments.table() if config.clips.segments else None
    named = (
        clip
        for path in paths
        if _form(config, path) == AUDIO
        for clip in file_clips(path, config.clips.split, table_of, config.clips.id_pattern)
    )
    places = Counter((clip.split, config.sharding.shard_name(clip.split, clip.video_id)) for clip in named)
    counted = [sum(1 for _ in clips_of_file(path, config.clips)) for path in shards[:_SHARDS_COUNTED]]
    in_shards = round(sum(counted) / len(counted) * len(shards)) if counted else 0
    is_estimate = len(shards) > len(counted) or config.options.segment_seconds is not None
    return Plan(
        dict(forms),
        sum(sizes.values()),
        places.total() + in_shards,
        is_estimate,
        config.sharding.num_shards or (None if shards else len(places)),
        len(FeatureFolder.at(config.options.output).shards),
        try_clips(config),
    )


def _form(config: Config, path: str) -> str:
    given = config.options.input_format
    return shard_format(path, b"") if given == AUTO else given


def try_clips(config: Config) -> Trial:
    """Embeds clips of some inputs, again and again, for two seconds."""
    job = make_job(config, False, [])
    model = job.embed.handler.load_model()
    clips = [
        clip
        for path in config.inputs.some
        for clip in itertools.islice(clips_of_file(path, config.clips), _OF_INPUT)
    ]
    for _ in _embedded(job, model, clips[:1]):  # compiles
        pass
    frames, done, audio_s, record_bytes = 0, 0, 0.0, 0
    begun = time.monotonic()
    endless = itertools.takewhile(lambda _: time.monotonic() - begun < _TRIAL_S, itertools.cycle(clips))
    dtype = np.float32 if config.options.postprocess == RAW else np.uint8
    for piece, embeddings in _embedded(job, model, endless):
        frames += len(embeddings)
        if piece.segment is not None:
            done += 1
            audio_s += piece.segment.end_s - piece.segment.start_s
            zeros = np.zeros((len(embeddings), EMBEDDING_SIZE), dtype)
            record_bytes += len(encode_example(piece.segment, zeros)) + HEADER_BYTES + 4
    return Trial(done, frames, audio_s, time.monotonic() - begun, record_bytes)


def _embedded(job: FeatureJob, model: Any, clips: Iterable[Clip]) -> Iterator[Examples]:
    """(Piece, features) of clips, in batches as Beam makes them; those that fail are left out."""
    size_of_batch = job.embed.handler.batch_elements_kwargs()["max_batch_size"]
    batch, num_examples = list[Examples](), 0
    for element in itertools.chain(job.extract.extract(clips), [None]):
        if element is not None:
            batch.append(element)
            num_examples += len(element[1])
        if batch and (element is None or num_examples >= size_of_batch):
            for piece, outcome in embed_pieces(model, batch):
                if not isinstance(outcome, ClipError):
                    yield piece, outcome
            batch, num_examples = [], 0
