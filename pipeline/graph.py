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
      read, extract, embed, write: as their classes say.
      quantize: whether records hold the release's bytes, or raw float32 embeddings.
      pca: PCA before quantization; None leaves it out.
    """

    read: ReadClips
    extract: ExtractExamples
    embed: EmbedExamples
    quantize: bool
    pca: PcaParams | None
    write: WriteFeatures


def run_path(output: str, name: str) -> str:
    """Path of one of the run's own files."""
    return FileSystems.join(output, RUN_FOLDER, name)


def build_graph(pipeline: beam.Pipeline, job: FeatureJob) -> None:
    """Adds all of a run's steps to a pipeline: audio files and shards in, features and account out."""
    output = job.write.output
    inputs = pipeline | "ReadClips" >> job.read
    # inputs.clips: Clip
    extracted = inputs.clips | "ExtractExamples" >> job.extract
    # extracted.examples: (Piece, float32[n, 96, 64])
    frames = extracted.examples | "EmbedExamples" >> job.embed
    # (Piece, float32[n, 128])
    if job.quantize:
        frames |= "Quantize" >> beam.MapTuple(lambda piece, e: (piece, postprocess(e, job.pca)))
        # (Piece, uint8[n, 128])
    features = frames | "WriteFeatures" >> job.write
    # features.written: (split, records), one a shard

    rejected = (inputs.rejected, extracted.rejected, features.rejected) | "Rejected" >> beam.Flatten()
    # RejectedClip
    rejected | "WriteRejected" >> WriteJsonLines(run_path(output, REJECTED_FILE))
    inputs.unmatched | "WriteUnmatched" >> WriteJsonLines(run_path(output, UNMATCHED_FILE))

    counts = (
        extracted.begun | "CountClips" >> beam.Map(count_read),
        inputs.rejected | "CountFaults" >> beam.Map(count_read),
        rejected | "CountRejected" >> beam.Map(count_rejected),
        inputs.unmatched | "CountUnmatched" >> beam.Map(count_unmatched),
        features.written | "CountWritten" >> beam.MapTuple(count_written),
    )
    # ((split, outcome), n)
    all_counts = counts | "Counts" >> beam.Flatten()
    all_counts | "WriteCounts" >> WriteCounts(run_path(output, COUNTS_FILE))
