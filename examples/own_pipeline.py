"""A custom pipeline made of this project's stages: writes the mean embedding of each clip as JSON lines.

python examples/own_pipeline.py --input='clips/**' --output=means --weights=random:0
"""

from pipeline.process.main import run_main  # first, so that Ctrl-C ends the other imports with one line too

# isort: split

import argparse
import json
import sys
from collections.abc import Sequence

import apache_beam as beam

from pipeline.assets.resolve import find_weights
from pipeline.cli.flags import check_flags
from pipeline.cli.option_groups import WEIGHTS, add_options
from pipeline.cli.parser import OneLineParser
from pipeline.job.path_checks import check_input
from pipeline.job.runner import make_pipeline
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


def add_own_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--input", metavar="GLOB", required=True, help="audio files or audio shards (required)")
    add("--output", metavar="NAME", required=True, help="start of the names of the files to write (required)")
    add_options(parser, WEIGHTS)


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add_own_options(parser)
    options, beam_flags = parser.parse_known_args(argv)  # the others are Beam's, such as --runner
    check_flags(argv, add_own_options)
    check_input([options.input])
    weights = find_weights(options.weights, options.assets_dir)
    with make_pipeline(beam_flags) as pipeline:
        mean_embeddings(pipeline, options.input, options.output, weights.path)
    return 0


if __name__ == "__main__":
    sys.exit(run_main("own_pipeline", lambda: main(sys.argv[1:])))
