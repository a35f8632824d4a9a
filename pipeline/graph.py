"""The pipeline as a table of contents."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from transforms.embed_examples import EmbedExamples
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ReadClips
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.write_account import (
    WriteCounts,
    WriteJsonLines,
    count_read,
    count_rejected,
    count_unmatched,
    count_written,
)
from transforms.write_features import WriteFeatures

# The run's own folder beside the splits; no split can be called so.
RUN_FOLDER = "_run"
REJECTED_FILE = "rejected.jsonl"
UNMATCHED_FILE = "unmatched.jsonl"
COUNTS_FILE = "counts.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class FeatureJob:
    """The steps of a run, ready made.

    Attributes:
      read, extract, embed: as their classes say.
      quantize: whether records hold the release's bytes, or raw float32 embeddings.
      pca: PCA before quantization; None leaves it out.
      output: the feature folder.
    """

    read: ReadClips
    extract: ExtractExamples
    embed: EmbedExamples
    quantize: bool
    pca: PcaParams | None
    output: str


def run_path(output: str, name: str) -> str:
    """Path of one of the run's own files."""
    return FileSystems.join(output, RUN_FOLDER, name)


def build_graph(pipeline: beam.Pipeline, job: FeatureJob) -> None:
    """Adds all of a run's steps to a pipeline: audio files in, shards and account out."""
    inputs = pipeline | "ReadClips" >> job.read
    # inputs.clips: Clip
    extracted = inputs.clips | "ExtractExamples" >> job.extract
    # extracted.examples: (Segment, float32[n, 96, 64])
    embeddings = extracted.examples | "EmbedExamples" >> job.embed
    # (Segment, float32[n, 128])
    if job.quantize:
        embeddings |= "Quantize" >> beam.MapTuple(lambda s, e: (s, postprocess(e, job.pca)))
        # (Segment, uint8[n, 128])
    written = embeddings | "WriteFeatures" >> WriteFeatures(job.output)
    # (split, records), a shard each

    rejected = (inputs.rejected, extracted.rejected) | "Rejected" >> beam.Flatten()
    # RejectedClip
    rejected | "WriteRejected" >> WriteJsonLines(run_path(job.output, REJECTED_FILE))
    inputs.unmatched | "WriteUnmatched" >> WriteJsonLines(run_path(job.output, UNMATCHED_FILE))

    counts = (
        inputs.clips | "CountClips" >> beam.Map(count_read),
        inputs.rejected | "CountDuplicates" >> beam.Map(count_read),
        rejected | "CountRejected" >> beam.Map(count_rejected),
        inputs.unmatched | "CountUnmatched" >> beam.Map(count_unmatched),
        written | "CountWritten" >> beam.MapTuple(count_written),
    )
    # ((split, outcome), n)
    all_counts = counts | "Counts" >> beam.Flatten()
    all_counts | "WriteCounts" >> WriteCounts(run_path(job.output, COUNTS_FILE))
