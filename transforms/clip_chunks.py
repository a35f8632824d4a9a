"""A clip's audio to examples in chunks: which of it is decoded, and how much goes on at a time."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from transforms.audio.decoder import Audio, Decoder, InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ClipChunk
from transforms.errors import ClipError, Reason
from transforms.pcm import PcmWindows, as_examples
from transforms.vggish.params import Framing

# A file that is longer or shorter than its segment by no more than this was cut to it.
CUT_TOLERANCE_S = 0.5

_IN_PROCESS = InProcessDecoder()

Examples = tuple[ClipChunk, np.ndarray | PcmWindows]  # float32[n, 96, 64], or the windows of n examples


@dataclass(frozen=True)
class Span:
    """The waveform of a clip: samples from `start` to `stop`, or to the end, of an opened file."""

    audio: Audio
    start: int
    stop: int | None


def clip_spans(
    file: BinaryIO, clip: Clip, segment_s: float | None, decoder: Decoder = _IN_PROCESS
) -> Iterator[tuple[Clip, Span]]:
    """Opens a clip's audio and gives the clips to make of it, each with its waveform.

    Args:
      file: the clip's audio, encoded; seekable.
      clip: which of it to read.
      segment_s: length of the clips into which audio without times of its own is cut.
      decoder: what decodes it.

    Yields:
      The clip and its span, to be read before the next one, or not at all.

    Raises:
      ClipError: the audio cannot be decoded, or a soundtrack ends before its segment.
    """
    start_s, end_s = _span_s(file, clip, decoder)
    with decoder.open(file) as audio:
        first = round(start_s * audio.rate_hz)
        if segment_s is None or clip.end_s is not None:
            yield clip, Span(audio, first, None if end_s is None else round(end_s * audio.rate_hz))
            return
        for number in itertools.count():
            start, stop = (first + round(n * segment_s * audio.rate_hz) for n in (number, number + 1))
            yield part_of(clip, number, segment_s), Span(audio, start, stop)
            if not audio.has_sample_at(stop):
                return


def recording_parts(
    file: BinaryIO, clip: Clip, segment_s: float, framing: Framing, decoder: Decoder = _IN_PROCESS
) -> list[Clip]:
    """The clips that a recording is cut into, as its header tells, without decoding it where that does.

    Raises:
      ClipError: the audio cannot be opened.
    """
    left_s = decoder.duration_s(file) - clip.start_s
    num_parts = max(1, math.ceil((left_s - framing.min_s) / segment_s))
    return [part_of(clip, number, segment_s) for number in range(num_parts)]


def part_of(clip: Clip, number: int, segment_s: float) -> Clip:
    """One of the clips that a recording is cut into, counted from 0."""
    return replace(clip, start_s=clip.start_s + number * segment_s)


def _span_s(file: BinaryIO, clip: Clip, decoder: Decoder) -> tuple[float, float | None]:
    """The seconds of the audio to read: all of what is a clip, or was cut to its segment before."""
    if clip.is_cut or clip.end_s is None:
        return 0.0, None
    length_s = decoder.duration_s(file)
    if abs(length_s - (clip.end_s - clip.start_s)) <= CUT_TOLERANCE_S:
        return 0.0, None
    if length_s <= clip.start_s:
        raise ClipError(
            Reason.OUTSIDE_AUDIO,
            f"{length_s:.3f} s of audio, and the segment begins at {clip.start_s} s; "
            "a file already cut to it is named ID_START",
        )
    return clip.start_s, clip.end_s


def chunk_clip(
    clip: Clip, span: Span, extraction: Extraction = Extraction(), sha256: str | None = None
) -> Iterator[Examples]:
    """Examples of a clip's waveform in chunks of `extraction.max_examples`, the last with its segment.

    Args:
      clip: what they are of.
      span: its waveform.
      extraction: how they are made.
      sha256: of the clip's encoded audio, as `ClipChunk` takes it.

    Raises:
      ClipError: the audio is damaged or gives no example; chunks before are then to be thrown away.
    """
    audio, index, last = span.audio, 0, None
    for array in audio.examples(extraction, span.start, span.stop):
        if last is not None:
            yield _chunk(clip, index, None), last
            index += 1
        last = as_examples(array, audio.rate_hz, extraction)
    assert last is not None
    end_s = clip.start_s + audio.num_samples / audio.rate_hz if clip.end_s is None else clip.end_s
    segment = Segment(clip.split, clip.video_id, clip.start_s, end_s, clip.labels)
    yield replace(_chunk(clip, index, segment), sha256=sha256), last


def _chunk(clip: Clip, index: int, segment: Segment | None) -> ClipChunk:
    return ClipChunk(clip.file, clip.offset, clip.split, clip.video_id, clip.start_s, index, segment)
