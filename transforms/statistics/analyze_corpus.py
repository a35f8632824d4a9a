"""Analyzes a corpus in one pass: counts by split and label, and moments of its vectors."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.typehints.decorators import no_annotations

from transforms.errors import Reason
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ReadClips
from transforms.read_features import ReadFeatures
from transforms.stage import Stage
from transforms.statistics.analyze_vectors import AnalyzeVectors
from transforms.statistics.count_clips import Count, CountClips, assemble_sizes, chunk_size, clip_size
from transforms.statistics.frechet import Sums
from transforms.statistics.moments import Moments
from transforms.statistics.sum_groups import SumGroups
from transforms.storage.files import read_file, write_output
from transforms.vggish.params import MEL_BANDS
from transforms.vggish.postprocess import PcaParams, apply_pca


class AnalysisOutputs(NamedTuple):
    """What an analysis returns: PCollections of one list of Count; of one Moments, or none without vectors;
    of the reason of each rejected clip; and of one list[Sums], or none if it is not wanted."""

    counts: beam.PCollection[list[Count]]
    moments: beam.PCollection[Moments]
    rejected: beam.PCollection[str]
    groups: beam.PCollection[list[Sums]]


@dataclass
class AnalyzeFeatures(Stage):
    """Analyzes the frames of a feature folder as they are stored: bytes are not dequantized.

    Attributes:
      read: reads the folder's records.
      analyze: analyzes the frames; with `pca`, all values of all dimensions as vectors of one value.
      pca: parameters of a PCA that is applied to the frames first; None: no PCA.
      sum_groups: sums the frames in groups; None: not wanted.
    """

    read: ReadFeatures
    analyze: AnalyzeVectors
    pca: PcaParams | None = None
    sum_groups: SumGroups | None = None

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, pbegin: beam.pvalue.PBegin) -> AnalysisOutputs:
        clips = pbegin | "ReadFeatures" >> self.read
        # (Segment, uint8[n, 128] or float32[n, 128])
        counts = (
            clips
            | "Size" >> beam.MapTuple(lambda segment, frames: clip_size(segment, len(frames)))
            | "CountClips" >> CountClips()
        )
        frames = clips | "Frames" >> beam.FlatMapTuple(lambda _, frames: [frames] if len(frames) else [])
        if self.pca is not None:
            frames |= "Project" >> beam.Map(_projected_values, self.pca)
        moments = frames | "AnalyzeVectors" >> self.analyze
        none = pbegin.pipeline | "None" >> beam.Create([])
        groups = none if self.sum_groups is None else clips | "SumGroups" >> self.sum_groups
        return AnalysisOutputs(counts, moments, none, groups)


@dataclass
class AnalyzeAudio(Stage):
    """Analyzes the log-mel frames of audio.

    Attributes:
      read: reads the audio.
      extract: extracts its examples.
      temp_dir: as for `AnalyzeVectors`.
    """

    read: ReadClips
    extract: ExtractExamples
    temp_dir: str

    @no_annotations  # Beam has no type hint for several outputs
    def expand(self, pbegin: beam.pvalue.PBegin) -> AnalysisOutputs:
        inputs = pbegin | "ReadClips" >> self.read
        extracted = inputs.clips | "ExtractExamples" >> self.extract
        # (ClipChunk, float32[n, 96, 64])
        moments = (
            extracted.examples
            | "LogMel" >> beam.MapTuple(lambda _, examples: examples.reshape(-1, MEL_BANDS))
            | "AnalyzeVectors" >> AnalyzeVectors(MEL_BANDS, self.temp_dir)
        )
        clips = (
            extracted.examples
            | "ChunkSize" >> beam.MapTuple(lambda chunk, examples: chunk_size(chunk, len(examples)))
            | "GroupByClip" >> beam.GroupByKey()
            | "AssembleSizes" >> beam.MapTuple(assemble_sizes)
        )
        # list[ClipSize]: a clip and its duplicates
        counts = clips | "First" >> beam.FlatMap(lambda same: same[:1]) | "CountClips" >> CountClips()
        duplicates = clips | "Duplicates" >> beam.FlatMap(
            lambda same: [Reason.DUPLICATE.value] * len(same[1:])
        )
        faulty = (inputs.rejected, extracted.rejected) | "Faulty" >> beam.Flatten()
        reasons = faulty | "Reason" >> beam.Map(lambda clip: clip.reason.value)
        rejected = (reasons, duplicates) | "Rejected" >> beam.Flatten()
        return AnalysisOutputs(counts, moments, rejected, pbegin.pipeline | "NoGroups" >> beam.Create([]))


def _projected_values(frames: np.ndarray, pca: PcaParams) -> np.ndarray:
    """float32[n, 128] embeddings -> float32[128 n, 1] values, as quantization takes them."""
    return apply_pca(frames, pca).astype(np.float32).reshape(-1, 1)


@dataclass(frozen=True)
class AnalysisResult:
    """The result of an analysis."""

    counts: list[Count]  # sorted
    moments: Moments | None  # of all vectors; None without vectors
    rejected: dict[str, int]  # reason -> number of clips
    groups: list[Sums]  # empty if not wanted


@dataclass
class WriteAnalysis(Stage):
    """Analyzes a corpus and writes the result to a file for `read_analysis`."""

    analyze: AnalyzeFeatures | AnalyzeAudio
    path: str

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        counts, moments, rejected, groups = pbegin | self.analyze
        reasons = rejected | "CountReasons" >> beam.combiners.Count.PerElement()
        return (
            pbegin.pipeline
            | "Path" >> beam.Create([self.path])
            | "Write"
            >> beam.Map(
                _write_analysis,
                beam.pvalue.AsSingleton(counts),
                beam.pvalue.AsList(moments),
                beam.pvalue.AsList(reasons),
                beam.pvalue.AsList(groups),
            )
        )


def _write_analysis(
    path: str,
    counts: list[Count],
    moments: Sequence[Moments],
    reasons: Iterable[tuple[str, int]],
    groups: Sequence[list[Sums]],
) -> None:
    found = {
        "counts": counts,
        "moments": [each.to_json() for each in moments],
        "rejected": sorted(reasons),
        "groups": [sums.to_json() for each in groups for sums in each],
    }
    write_output(path, json.dumps(found).encode())


def read_analysis(path: str) -> AnalysisResult:
    """Return the result that `WriteAnalysis` wrote, without loss."""
    found = json.loads(read_file(path))
    moments = [Moments.from_json(values) for values in found["moments"]]
    return AnalysisResult(
        [Count(*count) for count in found["counts"]],
        moments[0] if moments else None,
        dict(found["rejected"]),
        list(map(Sums.from_json, found["groups"])),
    )
