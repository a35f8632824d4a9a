"""Clip to log-mel examples, in pieces, or to the reason why not."""

import io
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from threadpoolctl import threadpool_limits

from transforms.ahead import Ahead, num_cores
from transforms.audio.decode import Cutter
from transforms.audio.front_end import waveform_examples
from transforms.audio.isolation import Decoder, IsolatedDecoder, PlainDecoder
from transforms.audio.resample import RESAMPY, Resampler
from transforms.audioset.segments import Segment
from transforms.clips import Clip, Key, Piece, RejectedClip, reject, sha256_of
from transforms.errors import ClipError, Reason
from transforms.files import FILE_ERRORS, open_file
from transforms.pcm import PcmWindows, joined
from transforms.vggish.params import Framing
from transforms.written_clips import WrittenClips

STAGE = "extract_examples"
# A file that is longer or shorter than its segment by no more than this was cut to it.
CUT_TOLERANCE_S = 0.5
# Examples in a piece: 3 MB, of PCM mostly four to seven times as much, and enough to fill the network's
# batches. No byte depends on it.
PIECE_EXAMPLES = 128
# Worked on ahead of the network: as many clips of 10 s as its longest call takes, and 32 MB of their
# examples; as much again of encoded audio, where shards hold it.
_MAX_CLIPS, _MAX_BYTES = 64, 1 << 25

_REJECTED = "rejected"
_FURTHER = "further"
_ALREADY_THERE = "already_there"
_PLAIN = PlainDecoder()

Examples = tuple[Piece, np.ndarray | PcmWindows]  # float32[n, 96, 64], or the windows of n examples
# `waveform_examples`, or for a front end on the accelerator `pcm_windows`.
CutWaveform = Callable[[Iterator, int, Framing, Resampler], Iterator]


class ExtractedExamples(NamedTuple):
    """What `ExtractExamples` returns: PCollections of (Piece, float32[n, 96, 64] or PcmWindows), of
    RejectedClip, and of Key: of each clip after the first that a recording was cut into, and of each that has
    its record."""

    examples: beam.PCollection[Examples]
    rejected: beam.PCollection[RejectedClip]
    further: beam.PCollection[Key]
    already_there: beam.PCollection[Key]


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
            yield _part(clip, number, segment_s), cutter.take(last - first), rate_hz
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
    return [_part(clip, number, segment_s) for number in range(num_parts)]


def _part(clip: Clip, number: int, segment_s: float) -> Clip:
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
    num_samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    index, gathered = 0, list[np.ndarray | PcmWindows]()
    for examples in cut(counted(), rate_hz, framing, resampler):
        if sum(map(len, gathered)) >= PIECE_EXAMPLES:
            yield _piece(clip, index, None), joined(gathered)
            index, gathered = index + 1, []
        gathered.append(examples)
    end_s = clip.start_s + num_samples / rate_hz if clip.end_s is None else clip.end_s
    segment = Segment(clip.split, clip.video_id, clip.start_s, end_s, clip.labels)
    yield replace(_piece(clip, index, segment), sha256=sha256), joined(gathered)


def _piece(clip: Clip, index: int, segment: Segment | None) -> Piece:
    return Piece(clip.file, clip.offset, clip.split, clip.video_id, clip.start_s, index, segment)


@dataclass
class ExtractExamples(beam.PTransform):
    """Clip -> (Piece, float32[n, 96, 64] or PcmWindows), fused with the reading, since all of it is large.

    Attributes:
      framing: window and hop of an example.
      segment_s: length in seconds of the clips into which recordings without times are cut; None: one
        clip each.
      written: finds clips that need not be extracted again; None: there are none.
      resampler: as `resample_blocks` takes it.
      num_threads: clips worked on at a time, while the network runs on those before; None: one a core.
      cut: what makes examples of a waveform.
    """

    framing: Framing = Framing()
    segment_s: float | None = None
    written: WrittenClips | None = None
    resampler: Resampler = RESAMPY
    num_threads: int | None = None
    cut: CutWaveform = waveform_examples

    def __post_init__(self) -> None:
        super().__init__()

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, clips: beam.PCollection[Clip]) -> ExtractedExamples:
        extract = _Extract(self.framing, self.segment_s, self.written, self.resampler, self.cut)
        outputs = clips | beam.ParDo(_ExtractAhead(extract, self.num_threads)).with_outputs(
            _REJECTED, _FURTHER, _ALREADY_THERE, main="examples"
        )
        return ExtractedExamples(
            outputs.examples, outputs[_REJECTED], outputs[_FURTHER], outputs[_ALREADY_THERE]
        )


_Output: TypeAlias = (
    Examples
    | TaggedOutput[Literal["rejected"], RejectedClip]
    | TaggedOutput[Literal["further"], Key]
    | TaggedOutput[Literal["already_there"], Key]
)


class _ExtractAhead(beam.DoFn):
    def __init__(self, extract: "_Extract", num_threads: int | None):
        self._extract = extract
        self._num_threads = num_threads

    def setup(self) -> None:
        # The threads are these; BLAS's own would wait for each other.
        threadpool_limits(1, "blas")
        self._decoders = [IsolatedDecoder() for _ in range(self._num_threads or num_cores())]
        self._ahead = Ahead(
            self._extract.outputs, self._decoders, _audio_bytes, _output_bytes, _MAX_CLIPS, _MAX_BYTES
        )

    def process(self, clip: Clip) -> Iterator[_Output]:
        if self._extract.is_written(clip):
            yield TaggedOutput(_ALREADY_THERE, clip.key)
        else:
            yield from self._ahead.put(clip)

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for output in self._ahead.drain():
            if isinstance(output, TaggedOutput):
                yield TaggedOutput(output.tag, _in_global_window(output.value))
            else:
                yield _in_global_window(output)

    def teardown(self) -> None:
        self._ahead.close()
        for decoder in self._decoders:
            decoder.close()


def _audio_bytes(clip: Clip) -> int:
    return len(clip.audio or b"")


def _output_bytes(output: _Output) -> int:
    return 0 if isinstance(output, TaggedOutput) else output[1].nbytes


def _in_global_window(value: object) -> WindowedValue:
    return WindowedValue(value, MIN_TIMESTAMP, [GlobalWindow()])


@dataclass(frozen=True)
class _Extract:
    """All that comes of a clip; the attributes are those of `ExtractExamples`."""

    framing: Framing
    segment_s: float | None
    written: WrittenClips | None
    resampler: Resampler
    cut: CutWaveform

    def is_written(self, clip: Clip) -> bool:
        """Whether all that a clip gives has its records; of a recording to be cut that is not yet known."""
        return (self.segment_s is None or clip.end_s is not None) and self._has(clip)

    def outputs(self, clip: Clip, decoder: Decoder) -> Iterator[_Output]:
        parts_s = self.segment_s if clip.end_s is None else None
        current = clip  # whose fault an error is
        try:
            with _open(clip) as file:
                if parts_s is not None and self.written is not None:
                    parts = recording_parts(file, clip, parts_s, self.framing, decoder)
                    if all(map(self._has, parts)):
                        for number, part in enumerate(parts):
                            yield from _there(part, number)
                        return
                sha256 = None if clip.audio is None else sha256_of(clip.audio)
                for number, (part, blocks, rate_hz) in enumerate(clip_spans(file, clip, parts_s, decoder)):
                    current = part
                    if self._has(part):
                        deque(blocks, maxlen=0)
                        yield from _there(part, number)
                    else:
                        yield from self._examples(part, number, blocks, rate_hz, sha256)
                    if parts_s is not None:
                        current = _part(clip, number + 1, parts_s)
        except (ClipError, *FILE_ERRORS) as error:
            if not isinstance(error, ClipError):
                error = ClipError(Reason.UNREADABLE, str(error))
            if current.start_s != clip.start_s:
                yield TaggedOutput(_FURTHER, current.key)
            yield TaggedOutput(_REJECTED, reject(current, STAGE, error))

    def _examples(
        self, part: Clip, number: int, blocks: Iterator, rate_hz: int, sha256: str | None
    ) -> Iterator[_Output]:
        try:
            yield from clip_pieces(part, blocks, rate_hz, self.framing, sha256, self.resampler, self.cut)
        except ClipError as error:
            if error.reason is Reason.TOO_SHORT and number:
                return  # the end of a recording, as the end of a clip that fills no frame
            raise
        if number:
            yield TaggedOutput(_FURTHER, part.key)

    def _has(self, clip: Clip) -> bool:
        return self.written is not None and self.written.has(clip)


def _there(part: Clip, number: int) -> Iterator[TaggedOutput]:
    if number:
        yield TaggedOutput(_FURTHER, part.key)
    yield TaggedOutput(_ALREADY_THERE, part.key)


def _open(clip: Clip) -> BinaryIO:
    if clip.audio is not None:
        return io.BytesIO(clip.audio)
    try:
        return open_file(clip.file)
    except FILE_ERRORS as error:
        hint = "" if "\\udc" not in clip.file else "; its name is not UTF-8: rename it"
        raise ClipError(Reason.UNREADABLE, f"{error}{hint}") from error
