"""The pipeline as a table of contents."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList

from pipeline.output.run_files import (
    ACCOUNT_FILE,
    REJECTED_LIST,
    UNMATCHED_LIST,
    WRITTEN_LIST,
    run_path,
)
from transforms.account import (
    MeasureAudio,
    WriteAccount,
    WriteJsonLines,
    existing,
    expected,
    rejected,
    rejected_earlier,
    unmatched,
    written,
)
from transforms.clips import ClipChunk, RejectedClip
from transforms.embed_examples import EmbeddedExamples, EmbedExamples
from transforms.errors import Reason
from transforms.extract_examples import ExtractedExamples, ExtractExamples
from transforms.progress import CLIPS, CLIPS_DONE, FRAMES, REJECTED, SHARDS, CountProgress, ProgressFolder
from transforms.read_clips import ClipInputs, ReadClips
from transforms.rejects import READ, TRIED, KeepRejected
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.write_features import EARLIER, EXISTING_CLIPS, FEATURES, WriteFeatures, WrittenFeatures


@dataclass(frozen=True)
class EmbeddingJob:
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


def build_graph(pipeline: beam.Pipeline, job: EmbeddingJob) -> None:
    """Adds all of a run's steps to a pipeline: audio files and shards in, features and account out."""
    output = job.write.output
    inputs = pipeline | "ReadClips" >> job.read
    # inputs.clips: Clip
    extracted = inputs.clips | "ExtractExamples" >> job.extract
    # extracted.examples: (ClipChunk, float32[n, 96, 64] or PcmWindows)
    embedded = extracted.examples | "EmbedExamples" >> job.embed
    frames = embedded.embeddings
    # (ClipChunk, float32[n, 128]; with PCM quantized already)
    if job.quantize:
        frames |= "Quantize" >> beam.MapTuple(lambda chunk, e: (chunk, postprocess(e, job.pca)))
        # (ClipChunk, uint8[n, 128])
    found = {READ: inputs.files}
    if job.keep.tried is not None:
        found[TRIED] = (inputs.clips, inputs.rejected) | "Tried" >> beam.Flatten()
    earlier = found | "KeepRejected" >> job.keep
    # RejectedClip
    earlier_duplicates = earlier | "EarlierDuplicates" >> beam.Filter(_is_duplicate)
    earlier_others = earlier | "EarlierOthers" >> beam.Filter(lambda clip: not _is_duplicate(clip))
    decided = {FEATURES: frames, EXISTING_CLIPS: extracted.existing, EARLIER: earlier_duplicates}
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
        extracted.extra_clips | "ExpectFurther" >> beam.Map(expected),
        features.existing | "CountAlreadyThere" >> beam.Map(existing),
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
        ("Further", extracted.extra_clips, lambda _: [(CLIPS, 1)]),
        ("AlreadyThere", extracted.existing, lambda _: [done]),
        ("Extracted", extracted.rejected, lambda _: [(REJECTED, 1), done]),
        ("Embedded", embedded.embeddings, _frames_and_clip),
        ("NotEmbedded", embedded.rejected, lambda _: [(REJECTED, 1), done]),
        ("Duplicates", features.rejected, lambda _: [(REJECTED, 1)]),
        ("Shards", features.shards, lambda _: [(SHARDS, 1)]),
    ):
        values | f"Show{name}" >> CountProgress(folder, counts)


def _is_duplicate(clip: RejectedClip) -> bool:
    return clip.reason is Reason.DUPLICATE


def _frames_and_clip(element: tuple[ClipChunk, np.ndarray]) -> list[tuple[str, int]]:
    chunk, frames = element
    return [(FRAMES, len(frames)), (CLIPS_DONE, int(chunk.segment is not None))]
