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
from classifier import read_classifier, trained_with
from helpers import check_at_least_one

from pipeline.assets.resolve import find_pca_params, find_weights
from pipeline.cli.option_groups import add_asset_options
from pipeline.cli.parser import OneLineParser
from pipeline.embed import embed
from pipeline.process.main import run_main
from transforms.audioset.reading import NUM_FRAMES, VALUES
from transforms.printable import Attention, say
from transforms.vggish.params import Framing


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL_DIR", help="folder that train_classifier.py wrote")
    parser.add_argument("audio", metavar="AUDIO", help="the audio file")
    parser.add_argument("--top", type=int, default=5, help="classes to print (default: %(default)s)")
    add_asset_options(parser)
    options = parser.parse_args(argv)
    check_at_least_one(options, "top")
    model, names = read_classifier(Path(options.model))
    sources = {name: getattr(options, name) for name in ("weights", "pca_params", "assets_dir")}
    codes = embed(options.audio, **sources)
    _, pca_file = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    say(f"weights: {weights}", f"PCA parameters: {pca_file or 'none'}")
    used = {"weights": weights.sha256 or weights.path, "pca_params": pca_file and pca_file.sha256}
    for name, trained in trained_with(Path(options.model)).items():
        if trained != used[name]:
            line = (
                "tag_file: warning: the classes are wrong: the model was trained on features made with "
                f"other {name} ({_shown(trained)}); give the same --{name}"
            )
            say(Attention(line), file=sys.stderr)

    start_s = 0.0
    for start in range(0, len(codes), NUM_FRAMES):
        embeddings = VALUES[codes[start : start + NUM_FRAMES]]
        (scores,) = model.predict(embeddings[np.newaxis], verbose=0)
        best = np.argsort(-scores, kind="stable")[: options.top]
        end_s = start_s + len(embeddings) * Framing().hop_s
        found = ", ".join(f"{names[place]} {scores[place]:.3f}" for place in best)
        say(f"{start_s:.2f} to {end_s:.2f} s: {found}")
        start_s = end_s
    return 0


def _shown(trained: str | None) -> str:
    """Return `none`, `random:SEED` or the start of a SHA-256."""
    return "none" if trained is None else trained[:12]


if __name__ == "__main__":
    sys.exit(run_main("tag_file", lambda: main(sys.argv[1:])))
