"""The graph of the pipeline: all its steps, and what they exchange."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList

from pipeline.output.run_files import ACCOUNT_FILE, REJECTED_LIST, UNMATCHED_LIST, WRITTEN_LIST, run_path
from transforms.clips import ClipChunk, RejectedClip
from transforms.embed_examples import EmbeddedExamples, EmbedExamples
from transforms.errors import Reason
from transforms.extract_examples import ExtractedExamples, ExtractExamples
from transforms.progress import CLIPS, CLIPS_DONE, FRAMES, REJECTED, SHARDS, CountProgress, ProgressFolder
from transforms.read_clips import ClipInputs, ReadClips
from transforms.rejects import READ, TRIED, KeepRejected
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.write_account import (
    EXISTING,
    EXPECTED,
    REJECTED_EARLIER,
    WRITTEN,
    MeasureAudio,
    WriteAccount,
    WriteJsonLines,
    event,
    rejected,
    unmatched,
)
from transforms.write_features import EARLIER, EXISTING_CLIPS, FEATURES, WriteFeatures, WrittenFeatures


@dataclass(frozen=True)
class EmbeddingJob:
    """The configured steps of a run.

    Attributes:
      quantize: whether embeddings are converted to the release's bytes after `embed`.
      pca: PCA before quantization; None for no PCA.
      keep: selects the earlier rejects that this run did not revisit.
      progress: where workers report progress; None if they do not.
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
    """Adds all steps of a run to a pipeline, from audio files and shards to features and account."""
    output = job.write.output
    inputs = pipeline | "ReadClips" >> job.read
    # inputs.clips: Clip
    extracted = inputs.clips | "ExtractExamples" >> job.extract
    # extracted.examples: (ClipChunk, float32[n, 96, 64] or PcmWindows)
    embedded = extracted.examples | "EmbedExamples" >> job.embed
    frames = embedded.embeddings
    # (ClipChunk, float32[n, 128]; already quantized if the examples are PcmWindows)
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
    # features.written: Key, one per record; features.shards: ShardFile
    features.shards | "WriteShardList" >> WriteJsonLines(run_path(output, WRITTEN_LIST))

    rejects = inputs.rejected, extracted.rejected, embedded.rejected, features.rejected
    rejected_clips = rejects | "Rejected" >> beam.Flatten()
    # RejectedClip
    earlier = (earlier_others, features.earlier) | "AllEarlier" >> beam.Flatten()
    listed = (rejected_clips, earlier) | "AllRejected" >> beam.Flatten()
    listed | "WriteRejected" >> WriteJsonLines(run_path(output, REJECTED_LIST))
    inputs.unmatched | "WriteUnmatched" >> WriteJsonLines(run_path(output, UNMATCHED_LIST))

    events = (
        inputs.clips | "ExpectClips" >> beam.Map(event, EXPECTED),
        inputs.rejected | "ExpectRejected" >> beam.Map(event, EXPECTED),
        extracted.extra_clips | "ExpectExtraClips" >> beam.Map(event, EXPECTED),
        features.existing | "CountExisting" >> beam.Map(event, EXISTING),
        features.written | "CountWritten" >> beam.Map(event, WRITTEN),
        rejected_clips | "CountRejected" >> beam.Map(rejected),
        earlier | "CountEarlier" >> beam.Map(event, REJECTED_EARLIER),
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
    # These count the separate collections: a runner gathers the flattened events before it processes them,
    # so their counts would come only at the end.
    done = CLIPS_DONE, 1
    for name, values, counts in (
        ("Clips", inputs.clips, lambda _: [(CLIPS, 1)]),
        ("Rejected", inputs.rejected, lambda _: [(CLIPS, 1), (REJECTED, 1), done]),
        ("ExtraClips", extracted.extra_clips, lambda _: [(CLIPS, 1)]),
        ("Existing", extracted.existing, lambda _: [done]),
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
