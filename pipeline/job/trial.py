"""Embeds some clips of a run's inputs for two seconds, to estimate the time for all of them."""

import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

import numpy as np

from pipeline.cli.option_groups import RAW
from pipeline.graph import EmbeddingJob
from pipeline.job.build_job import build_job
from pipeline.job.config import Config
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ClipChunk, RejectedClip, reject
from transforms.embed_examples import STAGE, Examples, embed_chunks
from transforms.errors import ClipError
from transforms.extract_examples import open_clip
from transforms.read_clips import outputs_of_file
from transforms.storage.tfrecord import HEADER_BYTES
from transforms.vggish.params import EMBEDDING_SIZE

_TRIAL_S = 2.0
_CLIPS_PER_INPUT = 8


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


def try_clips(config: Config) -> Trial:
    """Embeds clips of some inputs, repeatedly, for two seconds."""
    job = build_job(config, False, [])
    model = job.embed.handler.make_model()
    outputs = [
        output
        for path in config.inputs.some
        for output in itertools.islice(outputs_of_file(path, config.clips), _CLIPS_PER_INPUT)
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
    with closing(_embedded(job, model, endless, rejects, begun + _TRIAL_S)) as embedded:
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
    job: EmbeddingJob,
    model: Any,
    clips: Iterable[Clip],
    rejects: dict[tuple, RejectedClip],
    until: float = math.inf,
) -> Generator[Examples]:
    """Yields (ClipChunk, features) of clips, in the same batches as Beam; clips that fail go to `rejects`.

    It ends with the first batch after `until`, a time of `time.monotonic`. By then, up to 64 more clips are
    extracted.
    """
    size_of_batch = job.embed.handler.batch_elements_kwargs()["max_batch_size"]
    batch, num_examples = list[Examples](), 0
    with closing(job.extract.extract(clips)) as extracted:
        for element in itertools.chain(extracted, [None]):
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
                if time.monotonic() >= until:
                    return
