"""Prints the classes heard in an audio file, by a classifier that train_classifier.py saved.

    python examples/tag_file.py MODEL_DIR clip.wav

For every ten frames (9.6 s), prints the classes with the highest scores.
"""

import pipeline  # noqa: F401, before Keras: it imports TensorFlow without its start-up messages

# isort: split

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from classifier import read_classifier
from numpy.typing import NDArray

from pipeline.assets.resolve import find_pca_params, find_weights
from pipeline.cli.flags import OneLineParser
from pipeline.cli.option_groups import add_asset_options
from pipeline.embed import read_waveform
from pipeline.process.main import run_main
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audioset.reading import NUM_FRAMES, VALUES
from transforms.errors import ClipError, SettingError
from transforms.printable import say
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder
from transforms.vggish.params import Framing
from transforms.vggish.postprocess import postprocess


def split_frames(codes: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Split uint8[n, 128] into dequantized float32[m, 128] of ten frames each; the last has 1 to 10."""
    return [VALUES[codes[start : start + NUM_FRAMES]] for start in range(0, len(codes), NUM_FRAMES)]


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL_DIR", help="folder that train_classifier.py wrote")
    parser.add_argument("audio", metavar="AUDIO", help="the audio file")
    parser.add_argument("--top", type=int, default=5, help="classes to print (default: %(default)s)")
    add_asset_options(parser)
    options = parser.parse_args(argv)
    if options.top < 1:
        raise SettingError(f"--top={options.top}: give 1 or more")
    model, names = read_classifier(Path(options.model))
    waveform, rate_hz = read_waveform(options.audio)
    try:
        examples = np.concatenate(list(waveform_examples([waveform], rate_hz)))
    except ClipError as error:
        raise SettingError(f"{options.audio}: {error}; give a longer file") from error
    pca, pca_file = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    say(f"weights: {weights}", f"PCA parameters: {pca_file or 'none'}")
    codes = postprocess(Embedder(read_weights(weights.path)).embed(examples), pca)

    start_s = 0.0
    for embeddings in split_frames(codes):
        (scores,) = model.predict(embeddings[np.newaxis], verbose=0)
        best = np.argsort(-scores, kind="stable")[: options.top]
        end_s = start_s + len(embeddings) * Framing().hop_s
        found = ", ".join(f"{names[place]} {scores[place]:.3f}" for place in best)
        say(f"{start_s:.2f} to {end_s:.2f} s: {found}")
        start_s = end_s
    return 0


if __name__ == "__main__":
    sys.exit(run_main("tag_file", lambda: main(sys.argv[1:])))
