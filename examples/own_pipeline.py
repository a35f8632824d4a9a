"""A custom pipeline made of this project's stages: writes the mean embedding of each clip as JSON lines.

python examples/own_pipeline.py 'clips/**' means --weights=random:0
"""

import pipeline

# isort: split

import json
import sys

import apache_beam as beam

from pipeline.assets.released import WEIGHTS, find_asset
from transforms.embed_examples import EmbedExamples, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.read_clips import ClipSettings, ReadClips


def mean_embeddings(pipeline: beam.Pipeline, pattern: str, output: str, weights: str) -> None:
    """Write `OUTPUT-*.jsonl`: one line per clip, with its id and the mean of its raw embeddings."""
    inputs = pipeline | ReadClips([pattern], ClipSettings(split="train"))
    # inputs.clips: Clip
    extracted = inputs.clips | ExtractExamples()
    # extracted.examples: (ClipChunk, float32[n, 96, 64])
    embedded = extracted.examples | EmbedExamples(VggishModelHandler(weights, batch_size=64))
    # embedded.embeddings: (ClipChunk, float32[n, 128]); a long clip has several chunks
    means = (
        embedded.embeddings
        | "ByClip" >> beam.MapTuple(lambda chunk, frames: (chunk.video_id, (frames.sum(axis=0), len(frames))))
        | "Sum" >> beam.CombinePerKey(lambda parts: tuple(map(sum, zip(*parts, strict=True))))
        | "Mean" >> beam.MapTuple(lambda video_id, total: (video_id, (total[0] / total[1]).tolist()))
        # (id, 128 floats)
    )
    rejected = (inputs.rejected, extracted.rejected, embedded.rejected) | beam.Flatten()
    # RejectedClip: every clip without an embedding, with the reason
    lines = (
        means
        | "MeanToJson" >> beam.MapTuple(lambda video_id, mean: json.dumps({"id": video_id, "mean": mean})),
        rejected | "RejectToJson" >> beam.Map(lambda clip: json.dumps(clip.to_json())),
    ) | "Lines" >> beam.Flatten()
    lines | beam.io.WriteToText(output, file_name_suffix=".jsonl")


if __name__ == "__main__":
    pattern, output, *flags = sys.argv[1:]
    given = [flag.removeprefix("--weights=") for flag in flags if flag.startswith("--weights=")]
    with beam.Pipeline(argv=[flag for flag in flags if not flag.startswith("--weights=")]) as pipeline:
        weights = given[-1] if given else find_asset(WEIGHTS, None, None)
        mean_embeddings(pipeline, pattern, output, weights)
