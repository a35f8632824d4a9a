"""Clips to log-mel examples in chunks, or to rejected clips."""

import io
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
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
from transforms.clip_chunks import Examples, Span, chunk_clip, clip_spans, cut_recording, nth_clip
from transforms.clips import Clip, ExistingClip, Key, RejectedClip, reject
from transforms.errors import ClipError, Reason
from transforms.features.existing_records import ExistingRecords
from transforms.prefetch import OrderedPrefetcher, num_cores
from transforms.stage import Stage
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS

STAGE = "extract_examples"
# Limits of the prefetching while the network runs. The number of clips is enough for the network's longest
# call, with clips of 10 s. The bytes hold their examples, and as much encoded audio of shards again; windows
# take up to seven times the memory of log-mel examples.
_MAX_CLIPS, _MAX_BYTES, _MAX_WINDOWS_BYTES = 64, 1 << 24, 1 << 26

_REJECTED = "rejected"
_EXTRA = "extra_clips"
_EXISTING = "existing"


class ExtractedExamples(NamedTuple):
    """What `ExtractExamples` returns: PCollections of (ClipChunk, float32[n, 96, 64] or PcmWindows), of
    RejectedClip, of Key (one per clip after the first into which a recording was cut), and of ExistingClip
    (one per clip that has its record)."""

    examples: beam.PCollection[Examples]
    rejected: beam.PCollection[RejectedClip]
    extra_clips: beam.PCollection[Key]
    existing: beam.PCollection[ExistingClip]


@dataclass
class ExtractExamples(Stage):
    """Clip -> (ClipChunk, float32[n, 96, 64] or PcmWindows); fused with the reading, since clips are large.

    One clip per core is extracted at a time, while the network runs on earlier ones.

    Attributes:
      extraction: how a waveform becomes examples.
      segment_s: length in seconds of the clips into which recordings without times are cut; None: one clip
        per recording.
      records: finds clips that need not be extracted again; None: no record exists.
    """

    extraction: Extraction = Extraction()
    segment_s: float | None = None
    records: ExistingRecords | None = None

    def extract(self, clips: Iterable[Clip]) -> Generator[Examples | RejectedClip]:
        """Yield the examples of clips, and the rejected clips, without a pipeline."""
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

    def _do_fn(self) -> "_ExtractInThreads":
        return _ExtractInThreads(self.extraction, self.segment_s, self.records)

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, clips: beam.PCollection[Clip]) -> ExtractedExamples:
        outputs = clips | beam.ParDo(self._do_fn()).with_outputs(
            _REJECTED, _EXTRA, _EXISTING, main="examples"
        )
        return ExtractedExamples(outputs.examples, outputs[_REJECTED], outputs[_EXTRA], outputs[_EXISTING])


_Output: TypeAlias = (
    Examples
    | TaggedOutput[Literal["rejected"], RejectedClip]
    | TaggedOutput[Literal["extra_clips"], Key]
    | TaggedOutput[Literal["existing"], ExistingClip]
)


@dataclass(eq=False)
class _ExtractInThreads(beam.DoFn):
    """Clip -> its outputs; the attributes are those of `ExtractExamples`."""

    extraction: Extraction
    segment_s: float | None
    records: ExistingRecords | None

    def setup(self) -> None:
        # These are the threads; BLAS's own threads would wait for each other.
        threadpool_limits(1, "blas")
        self._decoders = [IsolatedDecoder() for _ in range(num_cores())]
        self._prefetcher = OrderedPrefetcher(
            self._outputs,
            self._decoders,
            item_bytes=lambda clip: len(clip.audio or b""),
            result_bytes=lambda output: 0 if isinstance(output, TaggedOutput) else output[1].nbytes,
            max_items=_MAX_CLIPS,
            max_bytes=_MAX_WINDOWS_BYTES if self.extraction.windows else _MAX_BYTES,
        )

    def process(self, clip: Clip) -> Iterator[_Output]:
        is_whole = self.segment_s is not None and clip.end_s is None  # a recording that is yet to be cut
        existing = None if is_whole else self._find(clip)
        if existing is not None:
            yield TaggedOutput(_EXISTING, existing)
        else:
            yield from self._prefetcher.put(clip)

    def drain(self) -> Iterator[_Output]:
        """Yield the remaining outputs of all clips so far."""
        return self._prefetcher.drain()

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput]:
        for output in self.drain():
            if isinstance(output, TaggedOutput):
                yield TaggedOutput(output.tag, _in_global_window(output.value))
            else:
                yield _in_global_window(output)

    def teardown(self) -> None:
        self._prefetcher.close()
        for decoder in self._decoders:
            decoder.close()

    def _outputs(self, clip: Clip, decoder: Decoder) -> Iterator[_Output]:
        segment_s = self.segment_s if clip.end_s is None else None
        current = clip  # the clip that an error belongs to
        try:
            with open_clip(clip) as file:
                if segment_s is not None and self.records is not None:
                    clips = cut_recording(file, clip, segment_s, self.extraction.framing, decoder)
                    found = [existing for existing in map(self._find, clips) if existing is not None]
                    if len(found) == len(clips):
                        for number, existing in enumerate(found):
                            yield from _existing_outputs(existing, number)
                        return
                sha256 = clip.sha256
                for number, (current, span) in enumerate(clip_spans(file, clip, segment_s, decoder)):
                    record = self._find(current)
                    if record is not None:
                        yield from _existing_outputs(record, number)
                    else:
                        yield from self._examples(current, number, span, sha256)
                    if segment_s is not None:
                        current = nth_clip(clip, number + 1, segment_s)
        except (ClipError, *FILE_ERRORS) as error:
            if not isinstance(error, ClipError):
                error = ClipError(Reason.UNREADABLE, str(error))
            if current.start_s != clip.start_s:
                yield TaggedOutput(_EXTRA, current.key)
            yield TaggedOutput(_REJECTED, reject(current, STAGE, error))

    def _examples(self, clip: Clip, number: int, span: Span, sha256: str | None) -> Iterator[_Output]:
        # The end of a recording is no short clip.
        extraction = replace(self.extraction, padding=None) if number else self.extraction
        try:
            yield from chunk_clip(clip, span, extraction, sha256)
        except ClipError as error:
            if error.reason is Reason.TOO_SHORT and number:
                return  # the end of a recording, like the end of a clip that does not fill a frame
            raise
        if number:
            yield TaggedOutput(_EXTRA, clip.key)

    def _find(self, clip: Clip) -> ExistingClip | None:
        return None if self.records is None else self.records.find(clip)


def _in_global_window(value: object) -> WindowedValue:
    return WindowedValue(value, MIN_TIMESTAMP, [GlobalWindow()])


def _existing_outputs(existing: ExistingClip, number: int) -> Iterator[TaggedOutput]:
    if number:
        yield TaggedOutput(_EXTRA, existing.key)
    yield TaggedOutput(_EXISTING, existing)


def open_clip(clip: Clip) -> BinaryIO:
    """Open a clip's encoded audio. Raise ClipError if the file cannot be read."""
    if clip.audio is not None:
        return io.BytesIO(clip.audio)
    try:
        return open_file(clip.file)
    except FILE_ERRORS as error:
        raise ClipError(Reason.UNREADABLE, str(error)) from error
