"""Input globs to clips: audio files, and clips in shards."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from transforms.audio_shards.formats import AUDIO, AUTO
from transforms.audio_shards.items import ShardClip, ShardFault, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.audio_shards.sniff import shard_format
from transforms.clips import Clip, Key, RejectedClip, Unmatched, sha256_of
from transforms.errors import ClipError, Reason
from transforms.inputs.input_clips import file_clips, shard_clips
from transforms.inputs.input_list import InputSource, ListInputs, RejectFolders
from transforms.inputs.read_segments import SegmentFiles, read_label_indices
from transforms.progress import FILES_READ, ProgressFolder
from transforms.rejects import RejectFiles
from transforms.stage import Stage
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.shared_files import SharedFile

STAGE = "read_clips"
# Files with these suffixes are audio; the format of all others is detected from their content.
_AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff", ".aif")
_HEAD_BYTES = 4096
_MESSAGE_CHARACTERS = 300

_UNMATCHED = "unmatched"
_REJECTED = "rejected"
_SEEN = "seen"


class ClipInputs(NamedTuple):
    """What `ReadClips` returns: PCollections of the paths of all files, of Clip, of RejectedClip (faults of
    shards, and folders that cannot be listed) and of Unmatched."""

    files: beam.PCollection[str]
    clips: beam.PCollection[Clip]
    rejected: beam.PCollection[RejectedClip]
    unmatched: beam.PCollection[Unmatched]


@dataclass(frozen=True)
class ClipSettings:
    """How inputs become clips.

    Attributes:
      split: the split of clips without one in a segments CSV or shard.
      input_format: "audio", "tfrecord", "tar" or "parquet"; "auto" detects it per file.
      columns: field of a clip -> its name in shards; see `audio_shards.items.parse_columns`.
      segments: segments CSVs; None if every file, or clip of a shard, is one clip.
      class_labels: `class_labels_indices.csv`, or its path; for shards with labels by mid or display name.
      id_pattern: from `names.compile_id_pattern`.
      rejects: only the clips in these lists are read; None: all clips are read.
    """

    split: str
    input_format: str = AUTO
    columns: Mapping[str, str] = field(default_factory=parse_columns)
    segments: SegmentFiles | None = None
    class_labels: SharedFile | str | None = None
    id_pattern: re.Pattern[str] | None = None
    rejects: RejectFiles | None = None


@dataclass
class ReadClips(Stage):
    """Finds input files and the clips in them.

    Attributes:
      inputs: globs on any filesystem that Beam supports, or the list of files that the launcher found; not
        used if the settings have rejects.
      settings: how files become clips.
      progress: counts the files that were read; None: they are not counted.
    """

    inputs: InputSource
    settings: ClipSettings
    progress: ProgressFolder | None = None

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, pbegin: beam.pvalue.PBegin) -> ClipInputs:
        pipeline, settings = pbegin.pipeline, self.settings
        unlisted = None
        if settings.rejects is None:
            inputs = pipeline | "ListInputs" >> ListInputs(self.inputs)
            # Input
            paths = inputs | "Paths" >> beam.FlatMap(lambda found: [found.path] if found.is_file else [])
            unlisted = inputs | "Unlisted" >> RejectFolders(settings.split, STAGE)
        else:
            paths = (
                pipeline
                | "Rejects" >> beam.Create([settings.rejects])
                | "FilesOfRejects" >> beam.FlatMap(lambda rejects: rejects.index().files)
            )
        # str, twice if two globs match the path; one worker reads a whole shard
        files = paths | "Distinct" >> beam.Distinct()
        read = files | "ReadFiles" >> beam.ParDo(_ReadFile(settings, self.progress)).with_outputs(
            _REJECTED, _UNMATCHED, _SEEN, main="clips"
        )
        unmatched = read[_UNMATCHED]
        # With rejects, only a few clips are read, so most segments have no audio among them.
        if settings.segments is not None and settings.rejects is None:
            segments = (
                pipeline
                | "SegmentFiles" >> beam.Create([settings.segments])
                | "ReadSegments" >> beam.FlatMap(lambda source: ((s.key, s) for s in source.table()))
                # (Key, Segment)
            )
            missing = (
                {"segments": segments, "seen": read[_SEEN]}
                | "JoinByKey" >> beam.CoGroupByKey()
                # (Key, {"segments": [Segment], "seen": [None]})
                | "SegmentsWithoutAudio" >> beam.FlatMap(_without_audio)
            )
            unmatched = (unmatched, missing) | "Unmatched" >> beam.Flatten()
        rejected = read[_REJECTED]
        if unlisted is not None:
            rejected = (rejected, unlisted) | "Faults" >> beam.Flatten()
        return ClipInputs(files, read.clips, rejected, unmatched)


class _ReadFile(beam.DoFn):
    """Path -> Clip; other outputs are rejects, unmatched files, and the keys of all clips."""

    def __init__(self, settings: ClipSettings, progress: ProgressFolder | None):
        self._settings, self._progress = settings, progress

    def setup(self) -> None:
        settings = self._settings
        self._rejects = settings.rejects.index() if settings.rejects else None
        self._table = settings.segments.table() if settings.segments else None
        self._class_indices = read_label_indices(settings.class_labels) if settings.class_labels else None

    def process(
        self, path: str
    ) -> Iterator[
        Clip
        | TaggedOutput[Literal["rejected"], RejectedClip]
        | TaggedOutput[Literal["unmatched"], Unmatched]
        | TaggedOutput[Literal["seen"], tuple[Key, None]]
    ]:
        yield from self._file_outputs(path)
        if self._progress is not None:
            self._progress.add(FILES_READ)

    def _file_outputs(self, path: str) -> Iterator:
        settings = self._settings
        if self._rejects is not None and (folders := self._rejects.unlisted(path)):
            message = "a folder that could not be listed; to list it again, give --input"
            yield from (TaggedOutput(_REJECTED, replace(clip, message=message)) for clip in folders)
            return
        kind = settings.input_format
        if kind == AUTO:
            kind = _find_format(path)
        if kind == AUDIO:
            clips = file_clips(path, settings.split, self._table, settings.id_pattern)
            yield from self._outputs(clips, Unmatched(file=path))
            return
        try:
            with open_file(path) as file:
                for item in _items(kind, file, settings.columns):
                    yield from self._shard_item(path, item)
        except FILE_ERRORS as error:
            yield from self._fault(path, ShardFault(0, Reason.UNREADABLE, str(error)))

    def _shard_item(self, path: str, item: ShardClip | ShardFault) -> Iterator:
        if isinstance(item, ShardFault):
            yield from self._fault(path, item)
            return
        try:
            settings = self._settings
            clips = shard_clips(
                path, item, settings.split, self._table, self._class_indices, settings.id_pattern
            )
        except ClipError as error:
            fault = ShardFault(item.offset, error.reason, str(error), item.video_id)
            yield from self._fault(path, fault, sha256_of(item.audio))
        else:
            yield from self._outputs(clips, Unmatched(file=path, video_id=item.video_id))

    def _outputs(self, clips: list[Clip], otherwise: Unmatched) -> Iterator:
        if not clips:
            yield TaggedOutput(_UNMATCHED, otherwise)
        for clip in clips:
            if self._rejects is None or self._rejects.covers(clip):
                yield clip
                yield TaggedOutput(_SEEN, (clip.key, None))

    def _fault(self, path: str, fault: ShardFault, sha256: str | None = None) -> Iterator[TaggedOutput]:
        split, video_id = self._settings.split, fault.video_id or ""
        rejected = RejectedClip(
            split, video_id, 0.0, path, fault.offset, STAGE, fault.reason, fault.message, sha256
        )
        if self._rejects is None or self._rejects.covers(rejected):
            yield TaggedOutput(_REJECTED, rejected)


def clips_of_file(path: str, settings: ClipSettings) -> Iterator[Clip]:
    """Yield the clips of one input as `ReadClips` does, without a pipeline and without rejects."""
    return (output for output in outputs_of_file(path, settings) if isinstance(output, Clip))


def outputs_of_file(path: str, settings: ClipSettings) -> Iterator[Clip | RejectedClip]:
    """Yield the clips and rejects of one input as `ReadClips` does, without a pipeline."""
    read = _ReadFile(settings, None)
    read.setup()
    for output in read.process(path):
        if isinstance(output, Clip):
            yield output
        elif output.tag == _REJECTED:
            yield output.value


def _items(kind: str, file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Yield the items of `read_shard`; if a library that it uses raises an error, yield a fault."""
    offset = 0
    try:
        for item in read_shard(kind, file, columns):
            offset = item.offset
            yield item
    except (*FILE_ERRORS, MemoryError, ImportError):  # a problem of the file or of the worker
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:_MESSAGE_CHARACTERS]
        message = f"the reader raises {cause}; the rest of the shard is not read"
        yield ShardFault(offset, Reason.TRUNCATED_SHARD, message)


def _find_format(path: str) -> str:
    """Detect a format by name, then by the first bytes; the next stage rejects files that it cannot read."""
    if path.lower().endswith(_AUDIO_SUFFIXES):
        return AUDIO
    try:
        with open_file(path) as file:
            return shard_format(path, file.read(_HEAD_BYTES))
    except FILE_ERRORS:
        return AUDIO


def _without_audio(group: tuple[Key, dict[str, Iterable]]) -> Iterator[Unmatched]:
    _, values = group
    if not list(values["seen"]):
        for segment in values["segments"]:
            yield Unmatched(segment=segment)
