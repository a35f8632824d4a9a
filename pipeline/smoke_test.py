"""python -m pipeline.smoke_test: checks that this installation computes the reference's embeddings."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import soundfile
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from numpy.typing import NDArray

from pipeline.assets.resolve import find_pca_params, find_weights
from pipeline.cli.commands import SMOKE_TEST
from pipeline.graph import EmbeddingJob, build_graph
from pipeline.process.main import run_main
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.sine import sine
from transforms.audioset.example import decode_example
from transforms.audioset.layout import shard_path
from transforms.embed_examples import EmbedExamples, VggishModelHandler
from transforms.extract_examples import ExtractExamples
from transforms.printable import say
from transforms.read_clips import ClipSettings, ReadClips
from transforms.rejects import KeepRejected
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder
from transforms.vggish.params import EMBEDDING_SIZE, SAMPLE_RATE_HZ
from transforms.vggish.postprocess import PcaParams, postprocess
from transforms.write_features import WriteFeatures

FAILED = 1
# Statistics of the released model's output for the sine below, from tensorflow/models,
# research/audioset/vggish/vggish_smoke_test.py.
EMBEDDING_MEAN, EMBEDDING_STD = 0.000657, 0.343
POSTPROCESSED_MEAN, POSTPROCESSED_STD = 126.0, 89.3
RELATIVE_TOLERANCE = 0.1

_NUM_EXAMPLES = 3


class SmokeTestError(Exception):
    """A result of this installation is wrong."""


def run(argv: Sequence[str]) -> int:
    """Runs the test, prints what was checked, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, or the weights cannot be found or downloaded.
    """
    options, _ = SMOKE_TEST.parse(argv)
    weights = find_weights(options.weights, options.assets_dir)
    pca, pca_file = find_pca_params(options.pca_params, options.assets_dir)
    say(f"weights: {weights}", f"PCA parameters: {pca_file or 'none'}")
    try:
        examples = log_mel_examples(sine())
        _check_array("examples", examples, (_NUM_EXAMPLES, 96, 64))
        embeddings = Embedder(read_weights(weights.path)).embed(examples)
        _check_array("embeddings", embeddings, (_NUM_EXAMPLES, EMBEDDING_SIZE))
        codes = postprocess(embeddings, pca)
        if weights.released:
            _check_statistics("embeddings", embeddings, EMBEDDING_MEAN, EMBEDDING_STD)
        else:
            say("embeddings: statistics not checked, since these are not the released weights")
        if weights.released and pca_file and pca_file.released:
            _check_statistics("postprocessed", codes, POSTPROCESSED_MEAN, POSTPROCESSED_STD)
        else:
            files = "weights and PCA parameters"
            say(f"postprocessed: not checked, since {files} are not both the released files")
        if not np.array_equal(_codes_by_pipeline(weights.path, pca), codes):
            raise SmokeTestError("the pipeline's record differs from the same steps without Beam")
        say("pipeline: the record has the same bytes")
    except SmokeTestError as error:
        say(f"pipeline.smoke_test: failed: {error}", file=sys.stderr)
        return FAILED
    say("Looks Good To Me")
    return 0


def _check_array(name: str, array: NDArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or not np.isfinite(array).all():
        raise SmokeTestError(
            f"{name}: the shape is {array.shape} instead of {shape}, or a value is not finite"
        )
    say(f"{name}: {array.dtype}{list(array.shape)}, finite")


def _check_statistics(name: str, array: NDArray, mean: float, std: float) -> None:
    found = f"{name}: mean {array.mean():.6g} (reference {mean}), std {array.std():.4g} (reference {std})"
    if not np.allclose([array.mean(), array.std()], [mean, std], rtol=RELATIVE_TOLERANCE):
        raise SmokeTestError(f"{found}: they differ by more than {RELATIVE_TOLERANCE:.0%}")
    say(found)


def _codes_by_pipeline(weights: str, pca: PcaParams | None) -> NDArray:
    """Runs the pipeline on a WAV file of the sine, and returns the frames of the shard's record."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "sine.wav"))
        soundfile.write(path, sine(), SAMPLE_RATE_HZ, subtype="DOUBLE")
        job = EmbeddingJob(
            read=ReadClips([path], ClipSettings("smoke")),
            extract=ExtractExamples(),
            embed=EmbedExamples(VggishModelHandler(weights, batch_size=64)),
            quantize=True,
            pca=pca,
            write=WriteFeatures(folder),
            keep=KeepRejected([]),
        )
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            build_graph(pipeline, job)
        shard = str(Path(folder, shard_path("smoke", "si")))
        (record,) = tf.data.TFRecordDataset(shard).as_numpy_iterator()
        return decode_example(record, "smoke")[1]


if __name__ == "__main__":
    sys.exit(run_main("pipeline.smoke_test", lambda: run(sys.argv[1:])))
