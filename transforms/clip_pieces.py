"""A clip's audio to examples in pieces: which of it is decoded, and how much goes on at a time."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from transforms.audio.decode import Cutter
from transforms.audio.front_end import waveform_examples
from transforms.audio.isolation import Decoder, PlainDecoder
from transforms.audio.resample import RESAMPY, Resampler
from transforms.audio.sliding import Counted
from transforms.audioset.segments import Segment
from transforms.clips import Clip, Piece
from transforms.errors import ClipError, Reason
from transforms.pcm import PcmWindows, joined
from transforms.vggish.params import Framing

# A file that is longer or shorter than its segment by no more than this was cut to it.
CUT_TOLERANCE_S = 0.5
# Examples in a piece: 3 MB, of PCM mostly four to seven times as much, and enough to fill the network's
# batches. No byte depends on it.
PIECE_EXAMPLES = 128

_PLAIN = PlainDecoder()

Examples = tuple[Piece, np.ndarray | PcmWindows]  # float32[n, 96, 64], or the windows of n examples
# `waveform_examples`, or for a front end on the accelerator `pcm_windows`.
CutWaveform = Callable[[Iterator, int, Framing, Resampler], Iterator]


def clip_spans(
    file: BinaryIO, clip: Clip, segment_s: float | None, decoder: Decoder = _PLAIN
) -> Iterator[tuple[Clip, Iterator, int]]:
    """Decodes a clip's audio and gives the clips to make of it, each with its waveform.

    Args:
      file: the clip's audio, encoded; seekable.
      clip: which of it to read.
      segment_s: length of the clips into which audio without times of its own is cut.
      decoder: what decodes it.

    Yields:
      (clip, blocks of [samples], sample rate in Hz); the blocks are to be read before the next clip.

    Raises:
      ClipError: the audio cannot be decoded, or a soundtrack ends before its segment.
    """
    start_s, end_s = _span_s(file, clip, decoder)
    with decoder.open(file) as audio:
        rate_hz = audio.rate_hz
        cutter = Cutter(audio.blocks)
        # Decoded and dropped: no format but the simplest can seek to the sample.
        cutter.skip(round(start_s * rate_hz))
        if segment_s is None or clip.end_s is not None:
            length = None if end_s is None else round(end_s * rate_hz) - round(start_s * rate_hz)
            yield clip, cutter.take(length), rate_hz
            return
        for number in itertools.count():
            first, last = (round(n * segment_s * rate_hz) for n in (number, number + 1))
            yield part_of(clip, number, segment_s), cutter.take(last - first), rate_hz
            if not cutter.more():
                return


def recording_parts(
    file: BinaryIO, clip: Clip, segment_s: float, framing: Framing, decoder: Decoder = _PLAIN
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


def clip_pieces(
    clip: Clip,
    blocks: Iterator,
    rate_hz: int,
    framing: Framing,
    sha256: str | None = None,
    resampler: Resampler = RESAMPY,
    cut: CutWaveform = waveform_examples,
) -> Iterator[Examples]:
    """Examples of a clip's waveform in pieces of what `cut` gives, the last with its segment.

    Args:
      clip: what they are of.
      blocks: its waveform, [samples] each.
      rate_hz: of the waveform.
      framing: window and hop of an example.
      sha256: of the clip's encoded audio, as `Piece` takes it.
      resampler: as `resample_blocks` takes it.
      cut: makes the examples.

    Raises:
      ClipError: the audio is damaged or gives no example; pieces before are then to be thrown away.
    """
    counted = Counted(blocks)
    index, gathered = 0, list[np.ndarray | PcmWindows]()
    for examples in cut(iter(counted), rate_hz, framing, resampler):
        if sum(map(len, gathered)) >= PIECE_EXAMPLES:
            yield _piece(clip, index, None), joined(gathered)
            index, gathered = index + 1, []
        gathered.append(examples)
    end_s = clip.start_s + counted.num_samples / rate_hz if clip.end_s is None else clip.end_s
    segment = Segment(clip.split, clip.video_id, clip.start_s, end_s, clip.labels)
    yield replace(_piece(clip, index, segment), sha256=sha256), joined(gathered)


def _piece(clip: Clip, index: int, segment: Segment | None) -> Piece:
    return Piece(clip.file, clip.offset, clip.split, clip.video_id, clip.start_s, index, segment)
