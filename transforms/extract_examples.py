"""Clip to log-mel examples, in pieces, or to the reason why not."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audio.decode import Cutter, mono_blocks, open_audio
from transforms.audio.decode import duration_s as audio_duration_s
from transforms.audio.front_end import waveform_examples
from transforms.audioset.segments import Segment
from transforms.clips import Clip, Piece, RejectedClip, reject
from transforms.errors import ClipError, Reason
from transforms.files import FILE_ERRORS, open_file
from transforms.vggish.params import Framing

STAGE = "extract_examples"
# A file that is longer or shorter than its segment by no more than this was cut to it.
CUT_TOLERANCE_S = 0.5
# Examples in a piece: 6 MB, and enough to fill the network's batches. No byte depends on it.
PIECE_EXAMPLES = 256

_REJECTED = "rejected"
_BEGUN = "begun"

Examples = tuple[Piece, np.ndarray]  # float32[n, 96, 64]


class ExtractedExamples(NamedTuple):
    """What `ExtractExamples` returns: PCollections of (Piece, float32[n, 96, 64]), RejectedClip and, for
    each clip that came to either end, Clip without its audio."""

    examples: beam.PCollection[Examples]
    rejected: beam.PCollection[RejectedClip]
    begun: beam.PCollection[Clip]


def clip_spans(file: BinaryIO, clip: Clip, segment_s: float | None) -> Iterator[tuple[Clip, Iterator, int]]:
    """Decodes a clip's audio and gives the clips to make of it, each with its waveform.

    Args:
      file: the clip's audio, encoded; seekable.
      clip: which of it to read.
      segment_s: length of the clips into which audio without times of its own is cut.

    Yields:
      (clip, blocks of float64[samples], sample rate in Hz); the blocks are to be read before the next clip.

    Raises:
      ClipError: the audio cannot be decoded, or a soundtrack ends before its segment.
    """
    start_s, end_s = _span_s(file, clip)
    with open_audio(file) as stream:
        rate_hz = stream.rate_hz
        cutter = Cutter(mono_blocks(stream))
        # Decoded and dropped: no format but the simplest can seek to the sample.
        cutter.skip(round(start_s * rate_hz))
        if segment_s is None or clip.end_s is not None:
            length = None if end_s is None else round(end_s * rate_hz) - round(start_s * rate_hz)
            yield clip, cutter.take(length), rate_hz
            return
        for number in itertools.count():
            first, last = (round(n * segment_s * rate_hz) for n in (number, number + 1))
            yield replace(clip, start_s=clip.start_s + number * segment_s), cutter.take(last - first), rate_hz
            if not cutter.more():
                return


def _span_s(file: BinaryIO, clip: Clip) -> tuple[float, float | None]:
    """The seconds of the audio to read: all of what is a clip, or was cut to its segment before."""
    if clip.is_cut or clip.end_s is None:
        return 0.0, None
    length_s = audio_duration_s(file)
    if abs(length_s - (clip.end_s - clip.start_s)) <= CUT_TOLERANCE_S:
        return 0.0, None
    if length_s <= clip.start_s:
        raise ClipError(
            Reason.OUTSIDE_AUDIO,
            f"{length_s:.3f} s of audio, and the segment begins at {clip.start_s} s; "
            "a file already cut to it is named ID_START",
        )
    return clip.start_s, clip.end_s


def clip_pieces(clip: Clip, blocks: Iterator, rate_hz: int, framing: Framing) -> Iterator[Examples]:
    """Log-mel examples of a clip's waveform in pieces of float32[n, 96, 64], the last with its segment.

    Raises:
      ClipError: the audio is damaged or gives no example; pieces before are then to be thrown away.
    """
    num_samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    index, gathered = 0, list[np.ndarray]()
    for examples in waveform_examples(counted(), rate_hz, framing):
        if sum(map(len, gathered)) >= PIECE_EXAMPLES:
            yield _piece(clip, index, None), np.concatenate(gathered)
            index, gathered = index + 1, []
        gathered.append(examples)
    end_s = clip.start_s + num_samples / rate_hz if clip.end_s is None else clip.end_s
    segment = Segment(clip.split, clip.video_id, clip.start_s, end_s, clip.labels)
    yield _piece(clip, index, segment), np.concatenate(gathered)


def _piece(clip: Clip, index: int, segment: Segment | None) -> Piece:
    return Piece(clip.file, clip.offset, clip.split, clip.video_id, clip.start_s, index, segment)


@dataclass
class ExtractExamples(beam.PTransform):
    """Clip -> (Piece, float32[n, 96, 64]), fused with the reading, since audio and examples are large.

    Attributes:
      framing: window and hop of an example.
      segment_s: length in seconds of the clips into which recordings without times are cut; None: one
        clip each.
    """

    framing: Framing = Framing()
    segment_s: float | None = None

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, clips: beam.PCollection[Clip]) -> ExtractedExamples:
        outputs = clips | beam.ParDo(_ExtractExamples(self.framing, self.segment_s)).with_outputs(
            _REJECTED, _BEGUN, main="examples"
        )
        return ExtractedExamples(outputs.examples, outputs[_REJECTED], outputs[_BEGUN])


class _ExtractExamples(beam.DoFn):
    def __init__(self, framing: Framing, segment_s: float | None):
        self._framing = framing
        self._segment_s = segment_s

    def process(
        self, clip: Clip
    ) -> Iterator[
        Examples | TaggedOutput[Literal["rejected"], RejectedClip] | TaggedOutput[Literal["begun"], Clip]
    ]:
        current = replace(clip, audio=None)
        try:
            with _open(clip) as file:
                for part, blocks, rate_hz in clip_spans(file, clip, self._segment_s):
                    is_first, current = part.start_s == clip.start_s, replace(part, audio=None)
                    try:
                        yield from clip_pieces(current, blocks, rate_hz, self._framing)
                    except ClipError as error:
                        if error.reason is Reason.TOO_SHORT and not is_first:
                            continue  # the end of a recording, as the end of a clip that fills no frame
                        raise
                    yield TaggedOutput(_BEGUN, current)
        except ClipError as error:
            yield TaggedOutput(_BEGUN, current)
            yield TaggedOutput(_REJECTED, reject(current, STAGE, error))


def _open(clip: Clip) -> BinaryIO:
    if clip.audio is not None:
        return io.BytesIO(clip.audio)
    try:
        return open_file(clip.file)
    except FILE_ERRORS as error:
        hint = "" if "\\udc" not in clip.file else "; its name is not UTF-8: rename it"
        raise ClipError(Reason.UNREADABLE, f"{error}{hint}") from error
