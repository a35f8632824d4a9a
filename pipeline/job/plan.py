"""The plan of a run: what it would do, and an estimate of its time. It writes nothing."""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

import numpy as np

from pipeline.cli.option_groups import RAW
from pipeline.cli.text import format_bytes, format_duration, format_table
from pipeline.graph import EmbeddingJob
from pipeline.job.build_job import build_job
from pipeline.job.config import Config
from pipeline.job.no_features import why_no_clips
from pipeline.output.feature_folder import FeatureFolder
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.audio_shards.formats import AUDIO, AUTO
from transforms.audio_shards.sniff import shard_format
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ClipChunk, RejectedClip, reject
from transforms.embed_examples import STAGE, Examples, embed_chunks
from transforms.errors import ClipError
from transforms.extract_examples import open_clip
from transforms.inputs.input_clips import file_clips
from transforms.printable import counted
from transforms.read_clips import clips_of_file, outputs_of_file
from transforms.storage.tfrecord import HEADER_BYTES
from transforms.vggish.params import EMBEDDING_SIZE

_TRIAL_S = 2.0
# Clips that a trial takes per input, and input shards whose clips are counted.
_TRIAL_CLIPS_PER_INPUT, _SHARDS_COUNTED = 8, 2


@dataclasses.dataclass(frozen=True)
class Trial:
    """The result of embedding some clips in the same way as the run would.

    Attributes:
      clips, frames, audio_s: embedded clips, frames, and seconds of audio; the last clip counts in part if
        the time was over before its end.
      wall_s: seconds that embedding took, without loading the model.
      record_bytes: total size of the clips' records.
      rejected: reason -> number of rejected clips.
      first_reject: file and reason of the first reject; empty if there was none.
    """

    clips: float
    frames: int
    audio_s: float
    wall_s: float
    record_bytes: int
    rejected: dict[str, int] = dataclasses.field(default_factory=dict)
    first_reject: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
      inputs, input_bytes: format -> number of files; total size of the files.
      clips, is_estimate: number of clips in them, and whether it is extrapolated from some of the inputs.
      feature_shards: number of feature shards after the run; None if unknown.
      there: number of feature shards that the output already has.
      skipped: text on skipped inputs; empty if there are none.
      unlisted: number of folders that cannot be listed; each counts as a reject.
      no_clips: why the inputs contain no clip, and what to do; empty if they contain some.
      trial: result of embedding a few clips.
    """

    inputs: dict[str, int]
    input_bytes: int
    clips: int
    is_estimate: bool
    feature_shards: int | None
    there: int
    skipped: str
    unlisted: int
    no_clips: str
    trial: Trial

    @property
    def feature_bytes(self) -> float:
        return self.clips * self.trial.record_bytes / self.trial.clips if self.trial.clips else 0.0

    @property
    def wall_s(self) -> float | None:
        """Estimated seconds for all clips at the trial's speed; None if no clip could be embedded."""
        return self.clips * self.trial.wall_s / self.trial.clips if self.trial.clips else None

    def lines(self) -> list[str]:
        """Returns the plan as text."""
        trial, about = self.trial, "about " if self.is_estimate else ""
        shards = "number unknown until the input shards are read"
        if self.feature_shards is not None:
            shards = counted(self.feature_shards, "shard")
        existing = counted(self.there, "shard; the run skips its clips", "shards; the run skips their clips")
        unlisted = counted(self.unlisted, "folder or name", "folders or names")
        forms = ", ".join(f"{n:,} {form}" for form, n in sorted(self.inputs.items()))
        rows = {
            "inputs": f"{forms}, {format_bytes(self.input_bytes)}",
            "skipped": self.skipped,
            "unlisted": f"{unlisted} cannot be read and will be rejected" if self.unlisted else "",
            "clips": f"{about}{self.clips:,}" + (f": {self.no_clips}" if self.no_clips else ""),
            "existing": existing if self.there else "",
            "features": f"{shards}, about {format_bytes(self.feature_bytes)}",
            "trial": "no clip of the first inputs could be embedded",
        }
        if self.wall_s is not None:
            speed = trial.audio_s / trial.wall_s
            rows["trial"] = (
                f"{format_duration(trial.audio_s)} of audio in {trial.wall_s:.1f} s, "
                f"{trial.clips / trial.wall_s:,.3g} clips/s, {speed:,.0f}x real time"
            )
            rows["time"] = f"about {format_duration(self.wall_s)} in one process on this machine"
        if trial.rejected:
            reasons = ", ".join(f"{reason} {n}" for reason, n in trial.rejected.items())
            rows["rejected"] = f"in the trial: {reasons}; {trial.first_reject}"
        rows["next"] = "run the same command without --plan; nothing was written"
        return format_table(rows)

    def to_json(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "feature_bytes": round(self.feature_bytes),
            "wall_seconds": self.wall_s and round(self.wall_s, 3),
        }


def make_plan(config: Config) -> Plan:
    """Counts a run's inputs and clips, and embeds some of them for two seconds."""
    inputs, paths = config.inputs, config.inputs.paths
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
    sizes = [sum(1 for _ in clips_of_file(path, config.clips)) for path in shards[:_SHARDS_COUNTED]]
    in_shards = round(sum(sizes) / len(sizes) * len(shards)) if sizes else 0
    clips = places.total() + in_shards
    is_estimate = len(shards) > len(sizes) or config.options.segment_seconds is not None
    return Plan(
        dict(forms),
        sum(inputs.sizes),
        clips,
        is_estimate,
        config.sharding.num_shards or (None if shards else len(places)),
        len(FeatureFolder.at(config.options.output).shards),
        inputs.skipped,
        len(inputs.problems),
        "" if clips or not paths else why_no_clips(config.clips, paths[0]),
        try_clips(config),
    )


def _form(config: Config, path: str) -> str:
    given = config.options.input_format
    return shard_format(path, b"") if given == AUTO else given


def try_clips(config: Config) -> Trial:
    """Embeds clips of some inputs, repeatedly, for two seconds."""
    job = build_job(config, False, [])
    model = job.embed.handler.make_model()
    outputs = [
        output
        for path in config.inputs.some
        for output in itertools.islice(outputs_of_file(path, config.clips), _TRIAL_CLIPS_PER_INPUT)
    ]
    clips = [output for output in outputs if isinstance(output, Clip)]
    # The trial repeats clips, but each reject counts once.
    rejects = {(r.file, r.offset, r.key): r for r in outputs if isinstance(r, RejectedClip)}
    with closing(_embedded(job, model, clips[:1], rejects)) as embedded:
        next(embedded, None)  # compiles the model
    frames, of_clip, done, audio_s, record_bytes = 0, 0, 0.0, 0.0, 0
    begun = time.monotonic()
    endless = itertools.takewhile(lambda _: time.monotonic() - begun < _TRIAL_S, itertools.cycle(clips))
    dtype = np.float32 if config.options.postprocess == RAW else np.uint8
    with closing(_embedded(job, model, endless, rejects)) as embedded:
        for chunk, embeddings in embedded:
            frames, of_clip = frames + len(embeddings), of_clip + len(embeddings)
            segment, share = chunk.segment, 1.0
            if segment is None:
                if time.monotonic() - begun < _TRIAL_S:
                    continue
                segment, share = _first_part(config, clips, chunk, of_clip)
            done += share
            audio_s += segment.end_s - segment.start_s
            zeros = np.zeros((of_clip, EMBEDDING_SIZE), dtype)
            record_bytes += len(encode_example(segment, zeros)) + HEADER_BYTES + 4
            of_clip = 0
            if chunk.segment is None:
                break
        wall_s = time.monotonic() - begun
    reasons = Counter(reject.reason.value for reject in rejects.values())
    first = min(rejects.items())[1] if rejects else None
    return Trial(
        done,
        frames,
        audio_s,
        wall_s,
        record_bytes,
        dict(sorted(reasons.items())),
        f"{first.file}: {first.message}" if first else "",
    )


def _first_part(
    config: Config, clips: Iterable[Clip], chunk: ClipChunk, num_frames: int
) -> tuple[Segment, float]:
    """Returns the segment of a clip's first frames, and their share of the clip."""
    part_s = num_frames * config.options.example_hop_seconds
    clip = next(clip for clip in clips if (clip.file, clip.offset) == (chunk.file, chunk.offset))
    whole_s = config.options.segment_seconds
    if clip.end_s is not None:
        whole_s = clip.end_s - clip.start_s
    if whole_s is None:
        with closing(IsolatedDecoder()) as decoder, open_clip(clip) as file:
            whole_s = decoder.duration_s(file)
    segment = Segment(chunk.split, chunk.video_id, chunk.start_s, chunk.start_s + part_s)
    return segment, min(1.0, part_s / whole_s)


def _embedded(
    job: EmbeddingJob, model: Any, clips: Iterable[Clip], rejects: dict[tuple, RejectedClip]
) -> Generator[Examples]:
    """Yields (ClipChunk, features) of clips, in the same batches as Beam; clips that fail go to `rejects`."""
    size_of_batch = job.embed.handler.batch_elements_kwargs()["max_batch_size"]
    batch, num_examples = list[Examples](), 0
    for element in itertools.chain(job.extract.extract(clips), [None]):
        if isinstance(element, RejectedClip):
            rejects[element.file, element.offset, element.key] = element
            continue
        if element is not None:
            batch.append(element)
            num_examples += len(element[1])
        if batch and (element is None or num_examples >= size_of_batch):
            for chunk, outcome in embed_chunks(model, batch):
                if not isinstance(outcome, ClipError):
                    yield chunk, outcome
                else:
                    rejects[chunk.file, chunk.offset, chunk.key] = reject(chunk, STAGE, outcome)
            batch, num_examples = [], 0
