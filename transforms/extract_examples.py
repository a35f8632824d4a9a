"""Clip to log-mel examples, or to the reason why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audio.decode import duration_s as audio_duration_s
from transforms.audio.decode import open_audio, read_mono
from transforms.audio.front_end import waveform_examples
from transforms.audioset.segments import Segment
from transforms.clips import Clip, RejectedClip
from transforms.errors import ClipError, Reason
from transforms.files import FILE_ERRORS, open_file
from transforms.vggish.params import Framing

STAGE = "extract_examples"
# A file that is longer or shorter than its segment by no more than this was cut to it.
CUT_TOLERANCE_S = 0.5

_REJECTED = "rejected"


class ExtractedExamples(NamedTuple):
    """What `ExtractExamples` returns: PCollections of (Segment, float32[n, 96, 64]) and RejectedClip."""

    examples: beam.PCollection[tuple[Segment, np.ndarray]]
    rejected: beam.PCollection[RejectedClip]


def extract_examples(file: BinaryIO, clip: Clip, framing: Framing = Framing()) -> tuple[Segment, np.ndarray]:
    """Decodes a clip, mixes it to mono, resamples it to 16 kHz and computes its log-mel examples.

    Args:
      file: the clip's file, open for reading and seekable.
      clip: what of it to read.
      framing: window and hop of an example.

    Returns:
      The clip's segment (for a whole file: from 0 to its duration), and float32[n, 96, 64], n from 1.

    Raises:
      ClipError: the clip cannot be decoded or gives no example.
    """
    span_s = _span_s(file, clip)
    with open_audio(file) as sound:
        waveform = read_mono(sound, *span_s)
        duration_s = len(waveform) / sound.samplerate
        segment = clip.segment or Segment(clip.split, clip.video_id, 0.0, duration_s)
        return segment, waveform_examples(waveform, sound.samplerate, framing)


def _span_s(file: BinaryIO, clip: Clip) -> tuple[float, float | None]:
    """The seconds of the file to read: all of one that is a clip, or was cut to its segment before."""
    segment = clip.segment
    if segment is None or clip.is_cut:
        return 0.0, None
    length_s = audio_duration_s(file)
    if abs(length_s - segment.duration_s) <= CUT_TOLERANCE_S:
        return 0.0, None
    if length_s <= segment.start_s:
        raise ClipError(
            Reason.OUTSIDE_AUDIO,
            f"{length_s:.3f} s of audio, and the segment begins at {segment.start_s} s; "
            "a file already cut to it is named ID_START",
        )
    return segment.start_s, segment.end_s


@dataclass
class ExtractExamples(beam.PTransform):
    """Clip -> (Segment, float32[n, 96, 64]), fused with the reading, since examples are large.

    Attributes:
      framing: window and hop of an example.
    """

    framing: Framing = Framing()

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, clips: beam.PCollection[Clip]) -> ExtractedExamples:
        outputs = clips | beam.ParDo(_ExtractExamples(self.framing)).with_outputs(_REJECTED, main="examples")
        return ExtractedExamples(outputs.examples, outputs[_REJECTED])


class _ExtractExamples(beam.DoFn):
    def __init__(self, framing: Framing):
        self._framing = framing

    def process(
        self, clip: Clip
    ) -> Iterator[tuple[Segment, np.ndarray] | TaggedOutput[Literal["rejected"], RejectedClip]]:
        try:
            yield self._extract(clip)
        except ClipError as error:
            yield TaggedOutput(_REJECTED, RejectedClip.of(clip, STAGE, error))

    def _extract(self, clip: Clip) -> tuple[Segment, np.ndarray]:
        try:
            file = open_file(clip.file)
        except FILE_ERRORS as error:
            hint = "" if "\\udc" not in clip.file else "; its name is not UTF-8: rename it"
            raise ClipError(Reason.UNREADABLE, f"{error}{hint}") from error
        with file:
            return extract_examples(file, clip, self._framing)
