"""Audio to examples in chunks: which part of a recording is decoded, and how much at a time.

A recording is cut into clips, each with its span of samples. The examples of a span are made in chunks, so
that memory stays bounded. Here a recording of 9 s is cut into segments of 4 s, with two examples of 0.96 s
per chunk (a real chunk has up to 128). The last 0.16 s of a segment do not fill an example:

    recording  |----------------|----------------|----|                 0 to 9 s
    clips       start_s=0        start_s=4        start_s=8
    spans       [0, 64000)       [64000, 128000)  [128000, 192000)      at 16 kHz; the file ends at 144000
    chunks      0: 2 examples    0: 2 examples    0: 1 example, with the segment 8 to 9 s
                1: 2 examples,   1: 2 examples,
                   segment 0-4      segment 4-8

Only the last chunk of a clip has its segment, since the end of the audio may not be known before.
"""

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

# A file whose length differs from its segment's by at most this was already cut to the segment.
CUT_TOLERANCE_S = 0.5

_IN_PROCESS = InProcessDecoder()

Examples = tuple[ClipChunk, np.ndarray | PcmWindows]  # float32[n, 96, 64], or the windows of n examples


@dataclass(frozen=True)
class Span:
    """A clip's samples in an opened file: from `start` to `stop`, or to the end if `stop` is None."""

    audio: Audio
    start: int
    stop: int | None


def clip_spans(
    file: BinaryIO, clip: Clip, segment_s: float | None, decoder: Decoder = _IN_PROCESS
) -> Iterator[tuple[Clip, Span]]:
    """Open a clip's audio and yield the clips to extract from it, each with its span.

    Args:
      file: the clip's encoded audio; seekable.
      clip: the clip to read.
      segment_s: length in seconds of the clips into which audio without an end time is cut; None: one clip.
      decoder: decodes the audio.

    Yields:
      A clip and its span. The span must be read before the next one, or not at all.

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
            yield nth_clip(clip, number, segment_s), Span(audio, start, stop)
            if not audio.has_sample_at(stop):
                return


def cut_recording(
    file: BinaryIO, clip: Clip, segment_s: float, framing: Framing, decoder: Decoder = _IN_PROCESS
) -> list[Clip]:
    """Return the clips into which a recording is cut, by the length in its header.

    The recording is decoded only if the header does not state its length. Errors are those of `clip_spans`.
    """
    left_s = decoder.duration_s(file) - clip.start_s
    num_clips = max(1, math.ceil((left_s - framing.min_s) / segment_s))
    return [nth_clip(clip, number, segment_s) for number in range(num_clips)]


def nth_clip(clip: Clip, number: int, segment_s: float) -> Clip:
    """Return one of the clips into which a recording is cut; `number` counts from 0."""
    return replace(clip, start_s=clip.start_s + number * segment_s)


def _span_s(file: BinaryIO, clip: Clip, decoder: Decoder) -> tuple[float, float | None]:
    """Return start and end in seconds of the audio to read: (0, None) if the file contains only the clip."""
    if clip.is_cut or clip.end_s is None:
        return 0.0, None
    length_s = decoder.duration_s(file)
    if abs(length_s - (clip.end_s - clip.start_s)) <= CUT_TOLERANCE_S:
        return 0.0, None
    if length_s <= clip.start_s:
        raise ClipError(
            Reason.OUTSIDE_AUDIO,
            f"the audio ends at {length_s:.3f} s, but the segment begins at {clip.start_s} s; "
            "if the file is already cut to the segment, name it ID_START",
        )
    return clip.start_s, clip.end_s


def chunk_clip(
    clip: Clip, span: Span, extraction: Extraction = Extraction(), sha256: str | None = None
) -> Iterator[Examples]:
    """Yield a clip's examples in chunks of at most `extraction.max_examples`; the last has the segment.

    Args:
      clip: the clip.
      span: its samples.
      extraction: how examples are made.
      sha256: hash of the clip's encoded audio, for `ClipChunk.sha256`.

    Raises:
      ClipError: the audio is damaged or has no example; the caller must discard earlier chunks of the clip.
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
