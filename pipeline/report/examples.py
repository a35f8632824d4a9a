"""Reads a few of a run's clips again, for the figures of the report."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from pipeline.job.config import Config
from transforms.audio.dsp.padding import pad_short
from transforms.audio.dsp.resample import resample_blocks
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.audioset.example import decode_example
from transforms.audioset.layout import shard_path
from transforms.clip_chunks import clip_spans
from transforms.clips import Clip
from transforms.errors import ClipError
from transforms.extract_examples import open_clip
from transforms.features.existing_records import read_shard_records, record_key
from transforms.read_clips import clips_of_file
from transforms.storage.files import exists
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.params import MEL_BANDS, SAMPLE_RATE_HZ, Framing

# Frames per clip, few enough to be distinguishable on a narrow screen; and seconds of sound, which bound the
# page's size and the time to read the clip, whatever the hop is.
_MAX_FRAMES, _MAX_S = 24, 24


@dataclass(frozen=True)
class ExampleClip:
    """The beginning of a clip.

    Attributes:
      waveform: float32[samples], mono at 16 kHz, as the front end sees it.
      log_mel: its spectrogram, float32[spectrogram frames, 64].
      frames: its features, [n, 128].
    """

    clip: Clip
    waveform: NDArray[np.float32]
    log_mel: NDArray[np.float32]
    frames: NDArray


def example_clips(config: Config, count: int) -> list[ExampleClip]:
    """Returns at most `count` clips: the first clip of each of some inputs, if it has a record."""
    with closing(IsolatedDecoder()) as decoder:
        found = (example for clip in _first_clips(config) if (example := _example(config, clip, decoder)))
        return list(itertools.islice(found, count))


def _first_clips(config: Config) -> Iterator[Clip]:
    for path in config.inputs.some:
        yield from itertools.islice(clips_of_file(path, config.clips), 1)


def _example(config: Config, clip: Clip, decoder: IsolatedDecoder) -> ExampleClip | None:
    shard = shard_path(clip.split, config.sharding.shard_name(clip.split, clip.video_id))
    path = FileSystems.join(config.options.output, *shard.split("/"))
    if not exists(path):
        return None
    key = record_key(clip)
    records = (record for segment, record in read_shard_records(path) if record_key(segment) == key)
    record = next(records, None)
    if record is None:
        return None
    frames = decode_example(record, clip.split)[1][:_MAX_FRAMES]
    # The spectrogram has no overlap between examples, whatever the hop of the features is.
    framing, options = Framing(), config.options
    try:
        with open_clip(clip) as file:
            spans = clip_spans(file, clip, options.segment_seconds, decoder)  # closing it closes the audio
            _, span = next(spans)
            length_s = min(len(frames) * options.example_hop_seconds, _MAX_S)
            wanted = round(length_s / framing.hop_s) or 1
            # Read only as much of a long recording as is needed, plus 1 s for the resampling filter.
            enough = span.start + round((wanted * framing.hop_s + 1) * span.audio.rate_hz)
            stop = enough if span.stop is None else min(span.stop, enough)
            blocks = span.audio.blocks(span.start, stop)
            blocks = pad_short(blocks, span.audio.rate_hz, framing, options.pad_short)
            waveform = np.concatenate(list(resample_blocks(blocks, span.audio.rate_hz, options.resampler)))
            examples = np.concatenate(list(waveform_examples([waveform], SAMPLE_RATE_HZ)))[:wanted]
    except (ClipError, *FILE_ERRORS):  # the file has changed since the run read it
        return None
    shown = waveform[: round((wanted - 1) * framing.hop_s * SAMPLE_RATE_HZ) + framing.min_samples]
    return ExampleClip(clip, shown.astype(np.float32), examples.reshape(-1, MEL_BANDS), frames)
