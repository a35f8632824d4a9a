"""Clip to log-mel examples, in chunks, or to the reason why not."""

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.typehints.decorators import no_annotations
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from threadpoolctl import threadpool_limits

from transforms.audio.decoder import Decoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.clip_chunks import Examples, Span, chunk_clip, clip_spans, part_of, recording_parts
from transforms.clips import Claim, Clip, Key, RejectedClip, reject, sha256_of
from transforms.errors import ClipError, Reason
from transforms.features.existing_records import ExistingRecords, Presence
from transforms.prefetch import OrderedPrefetcher, num_cores
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS

STAGE = "extract_examples"
# Worked on ahead of the network: as many clips of 10 s as its longest call takes, and their examples, where
# windows take seven times the room; as much again of encoded audio, where shards hold it.
_MAX_CLIPS, _MAX_BYTES, _MAX_WINDOWS_BYTES = 64, 1 << 24, 1 << 26

_REJECTED = "rejected"
_FURTHER = "further"
_ALREADY_THERE = "existing"


class ExtractedExamples(NamedTuple):
    """What `ExtractExamples` returns: PCollections of (ClipChunk, float32[n, 96, 64] or PcmWindows), of
    RejectedClip, of Key (of each clip after the first that a recording was cut into), and of Claim (of each
    clip that has its record)."""

    examples: beam.PCollection[Examples]
    rejected: beam.PCollection[RejectedClip]
    extra_clips: beam.PCollection[Key]
    existing: beam.PCollection[Claim]


@dataclass
class ExtractExamples(beam.PTransform):
    """Clip -> (ClipChunk, float32[n, 96, 64] or PcmWindows), fused with the reading, since it is large.

    Attributes:
      extraction: how examples are made of a waveform.
      segment_s: length in seconds of the clips into which recordings without times are cut; None: one
        clip each.
      written: finds clips that need not be extracted again; None: there are none.
      num_threads: clips worked on at a time, while the network runs on those before; None: one a core.
    """

    extraction: Extraction = Extraction()
    segment_s: float | None = None
    written: ExistingRecords | None = None
    num_threads: int | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def extract(self, clips: Iterable[Clip]) -> Iterator[Examples | RejectedClip]:
        """The examples of some clips without a pipeline, as in one, and the clips that give none."""
        extract = self._do_fn()
        extract.setup()
        try:
            outputs = itertools.chain.from_iterable(map(extract.process, clips))
            for output in itertools.chain(outputs, extract.drain()):
                if not isinstance(output, TaggedOutput):
                    yield output
                elif output.tag == _REJECTED:
                    yield output.value
        finally:
            extract.teardown()

    def _do_fn(self) -> "_ExtractAhead":
        extract = _Extract(self.extraction, self.segment_s, self.written)
        return _ExtractAhead(extract, self.num_threads)

    @no_annotations  # Beam knows no hint for several outputs
    def expand(self, clips: beam.PCollection[Clip]) -> ExtractedExamples:
        outputs = clips | beam.ParDo(self._do_fn()).with_outputs(
            _REJECTED, _FURTHER, _ALREADY_THERE, main="examples"
        )
        return ExtractedExamples(
            outputs.examples, outputs[_REJECTED], outputs[_FURTHER], outputs[_ALREADY_THERE]
        )


_Output: TypeAlias = (
    Examples
    | TaggedOutput[Literal["rejected"], RejectedClip]
    | TaggedOutput[Literal["further"], Key]
    | TaggedOutput[Literal["existing"], Claim]
)


class _ExtractAhead(beam.DoFn):
    def __init__(self, extract: "_Extract", num_threads: int | None):
        self._extract = extract
        self._num_threads = num_threads

    def setup(self) -> None:
        # The threads are these; BLAS's own would wait for each other.
        threadpool_limits(1, "blas")
        self._decoders = [IsolatedDecoder() for _ in range(self._num_threads or num_cores())]
        max_bytes = _MAX_WINDOWS_BYTES if self._extract.extraction.windows else _MAX_BYTES
        self._ahead = OrderedPrefetcher(
            self._extract.outputs, self._decoders, _audio_bytes, _output_bytes, _MAX_CLIPS, max_bytes
        )

    def process(self, clip: Clip) -> Iterator[_Output]:
        claim = self._extract.claim(clip)
        if claim is not None:
            yield TaggedOutput(_ALREADY_THERE, claim)
        else:
            yield from self._ahead.put(clip)

    def drain(self) -> Iterator[_Output]:
        """What the clips so far have still to give."""
        return self._ahead.drain()

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for output in self.drain():
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

    extraction: Extraction
    segment_s: float | None
    written: ExistingRecords | None

    def claim(self, clip: Clip) -> Claim | None:
        """What a clip gives that has its record; of a recording to be cut that is not yet known."""
        return self._claim(clip) if self.segment_s is None or clip.end_s is not None else None

    def outputs(self, clip: Clip, decoder: Decoder) -> Iterator[_Output]:
        parts_s = self.segment_s if clip.end_s is None else None
        current = clip  # whose fault an error is
        try:
            with open_clip(clip) as file:
                if parts_s is not None and self.written is not None:
                    parts = recording_parts(file, clip, parts_s, self.extraction.framing, decoder)
                    known = [there for there in map(self._claim, parts) if there is not None]
                    if len(known) == len(parts):
                        for number, there in enumerate(known):
                            yield from _there(there, number)
                        return
                sha256 = None if clip.audio is None else sha256_of(clip.audio)
                for number, (part, span) in enumerate(clip_spans(file, clip, parts_s, decoder)):
                    current = part
                    claim = self._claim(part)
                    if claim is not None:
                        yield from _there(claim, number)
                    else:
                        yield from self._examples(part, number, span, sha256)
                    if parts_s is not None:
                        current = part_of(clip, number + 1, parts_s)
        except (ClipError, *FILE_ERRORS) as error:
            if not isinstance(error, ClipError):
                error = ClipError(Reason.UNREADABLE, str(error))
            if current.start_s != clip.start_s:
                yield TaggedOutput(_FURTHER, current.key)
            yield TaggedOutput(_REJECTED, reject(current, STAGE, error))

    def _examples(self, part: Clip, number: int, span: Span, sha256: str | None) -> Iterator[_Output]:
        try:
            yield from chunk_clip(part, span, self.extraction, sha256)
        except ClipError as error:
            if error.reason is Reason.TOO_SHORT and number:
                return  # the end of a recording, as the end of a clip that fills no frame
            raise
        if number:
            yield TaggedOutput(_FURTHER, part.key)

    def _claim(self, clip: Clip) -> Claim | None:
        there = Presence.NO if self.written is None else self.written.find(clip)
        if there is Presence.NO:
            return None
        sha256 = None if clip.audio is None else sha256_of(clip.audio)
        is_known = there is Presence.YES
        return Claim(clip.split, clip.video_id, clip.start_s, clip.file, clip.offset, sha256, is_known)


def _there(claim: Claim, number: int) -> Iterator[TaggedOutput]:
    if number:
        yield TaggedOutput(_FURTHER, claim.key)
    yield TaggedOutput(_ALREADY_THERE, claim)


def open_clip(clip: Clip) -> BinaryIO:
    """A clip's audio, encoded.

    Raises:
      ClipError: it cannot be read.
    """
    if clip.audio is not None:
        return io.BytesIO(clip.audio)
    try:
        return open_file(clip.file)
    except FILE_ERRORS as error:
        raise ClipError(Reason.UNREADABLE, str(error)) from error
