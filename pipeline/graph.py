"""The pipeline as a table of contents."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsList

from transforms.account import (
    MeasureAudio,
    WriteAccount,
    WriteJsonLines,
    already_there,
    expected,
    rejected,
    rejected_earlier,
    unmatched,
    written,
)
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.clips import Piece, RejectedClip
from transforms.embed_examples import EmbeddedExamples, EmbedExamples
from transforms.errors import Reason
from transforms.extract_examples import ExtractedExamples, ExtractExamples
from transforms.progress import CLIPS, CLIPS_DONE, FRAMES, REJECTED, SHARDS, CountProgress, ProgressFolder
from transforms.read_clips import ClipInputs, ReadClips
from transforms.rejects import KeepRejected
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.write_features import CLAIMS, EARLIER, FEATURES, WriteFeatures, WrittenFeatures

# Lists of JSON lines, each in one or more files.
REJECTED_LIST = "rejected"
UNMATCHED_LIST = "unmatched"
# What the launcher reads when the pipeline has ended, and deletes.
WRITTEN_LIST = "written"
ACCOUNT_FILE = "account.json"
# What workers read: the launcher's list of the inputs, deleted by it at the end.
INPUT_LIST = "inputs"
# A list as it was before the run, which workers read again where an engine repeats work.
TRIED_LIST = "tried"
MANIFEST_FILE = "manifest.json"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class FeatureJob:
    """The steps of a run, ready made.

    Attributes:
      read, extract, embed, write: as their classes say.
      quantize: whether embeddings are to become the release's bytes after `embed`.
      pca: PCA before quantization; None leaves it out.
      keep: of clips rejected by earlier runs, those that this run says nothing of.
      progress: where workers tell how far they are; None: they do not.
    """

    read: ReadClips
    extract: ExtractExamples
    embed: EmbedExamples
    quantize: bool
    pca: PcaParams | None
    write: WriteFeatures
    keep: KeepRejected
    progress: ProgressFolder | None = None


def run_path(output: str, name: str) -> str:
    """Path of one of the run's own files."""
    return FileSystems.join(output, RUN_FOLDER, name)


def build_graph(pipeline: beam.Pipeline, job: FeatureJob) -> None:
    """Adds all of a run's steps to a pipeline: audio files and shards in, features and account out."""
    output = job.write.output
    inputs = pipeline | "ReadClips" >> job.read
    # inputs.clips: Clip
    extracted = inputs.clips | "ExtractExamples" >> job.extract
    # extracted.examples: (Piece, float32[n, 96, 64] or PcmWindows)
    embedded = extracted.examples | "EmbedExamples" >> job.embed
    frames = embedded.embeddings
    # (Piece, float32[n, 128]; with PCM quantized already)
    if job.quantize:
        frames |= "Quantize" >> beam.MapTuple(lambda piece, e: (piece, postprocess(e, job.pca)))
        # (Piece, uint8[n, 128])
    earlier = inputs.files | "KeepRejected" >> job.keep
    # RejectedClip
    earlier_duplicates = earlier | "EarlierDuplicates" >> beam.Filter(_is_duplicate)
    earlier_others = earlier | "EarlierOthers" >> beam.Filter(lambda clip: not _is_duplicate(clip))
    decided = {FEATURES: frames, CLAIMS: extracted.already_there, EARLIER: earlier_duplicates}
    features = decided | "WriteFeatures" >> job.write
    # features.written: Key, one a record; features.shards: ShardFile
    features.shards | "WriteShardList" >> WriteJsonLines(run_path(output, WRITTEN_LIST))

    faulty = (
        inputs.rejected,
        extracted.rejected,
        embedded.rejected,
        features.rejected,
    ) | "Rejected" >> beam.Flatten()
    # RejectedClip
    earlier = (earlier_others, features.earlier) | "AllEarlier" >> beam.Flatten()
    listed = (faulty, earlier) | "AllRejected" >> beam.Flatten()
    listed | "WriteRejected" >> WriteJsonLines(run_path(output, REJECTED_LIST))
    inputs.unmatched | "WriteUnmatched" >> WriteJsonLines(run_path(output, UNMATCHED_LIST))

    events = (
        inputs.clips | "ExpectClips" >> beam.Map(lambda clip: expected(clip.key)),
        inputs.rejected | "ExpectFaults" >> beam.Map(lambda clip: expected(clip.key)),
        extracted.further | "ExpectFurther" >> beam.Map(expected),
        features.already_there | "CountAlreadyThere" >> beam.Map(already_there),
        features.written | "CountWritten" >> beam.Map(written),
        faulty | "CountRejected" >> beam.Map(rejected),
        earlier | "CountEarlier" >> beam.Map(rejected_earlier),
        inputs.unmatched | "CountUnmatched" >> beam.Map(unmatched),
    )
    # (Key, outcome)
    all_events = events | "Events" >> beam.Flatten()
    audio = embedded.embeddings | "MeasureAudio" >> MeasureAudio()
    # ((split, what), n)
    all_events | "WriteAccount" >> WriteAccount(run_path(output, ACCOUNT_FILE), AsList(audio))
    if job.progress is not None:
        _count_progress(job.progress, inputs, extracted, embedded, features)


def _count_progress(
    folder: ProgressFolder,
    inputs: ClipInputs,
    extracted: ExtractedExamples,
    embedded: EmbeddedExamples,
    features: WrittenFeatures,
) -> None:
    # Not of the flattened events: a runner gathers those first, and would tell when all is over.
    done = CLIPS_DONE, 1
    for name, values, counts in (
        ("Clips", inputs.clips, lambda _: [(CLIPS, 1)]),
        ("Faults", inputs.rejected, lambda _: [(CLIPS, 1), (REJECTED, 1), done]),
        ("Further", extracted.further, lambda _: [(CLIPS, 1)]),
        ("AlreadyThere", extracted.already_there, lambda _: [done]),
        ("Extracted", extracted.rejected, lambda _: [(REJECTED, 1), done]),
        ("Embedded", embedded.embeddings, _frames_and_clip),
        ("NotEmbedded", embedded.rejected, lambda _: [(REJECTED, 1), done]),
        ("Duplicates", features.rejected, lambda _: [(REJECTED, 1)]),
        ("Shards", features.shards, lambda _: [(SHARDS, 1)]),
    ):
        values | f"Show{name}" >> CountProgress(folder, counts)


def _is_duplicate(clip: RejectedClip) -> bool:
    return clip.reason is Reason.DUPLICATE


def _frames_and_clip(element: tuple[Piece, np.ndarray]) -> list[tuple[str, int]]:
    piece, frames = element
    return [(FRAMES, len(frames)), (CLIPS_DONE, int(piece.segment is not None))]
