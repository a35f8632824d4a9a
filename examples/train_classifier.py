"""Trains a classifier of all AudioSet classes on a feature folder, and reports its metrics.

    python examples/train_classifier.py features/bal_train --output=DIR
    python examples/train_classifier.py features/bal_train --output=DIR --evaluate=features/eval

A tenth of the clips, chosen by a hash of their ids, is held out for the metrics. Writes the Keras model and
its list of classes, which tag_file.py reads, the metrics of each class, a report, and a plot of the learning
curves. docs/classifier.md has the figures of the released balanced split.
"""

import pipeline  # noqa: F401, before Keras: it imports TensorFlow without its start-up messages

# isort: split

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from classifier import (
    LABELS_FILE,
    MODEL_FILE,
    RECIPES,
    REPORT_FILE,
    Clips,
    embedded_with,
    load_clips,
    predict,
    train,
)
from helpers import check_at_least_one, check_new_model, is_held_out, write_atomic
from scores import Scores, plot_curves, score_classes, write_by_class

from pipeline.assets.released import CLASS_LABELS, find_asset
from pipeline.cli.parser import OneLineParser
from pipeline.process.main import run_main
from transforms.audioset.labels import read_display_names
from transforms.errors import SettingError
from transforms.printable import counted, say

BY_CLASS_FILE, CURVES_FILE = "by_class.csv", "learning_curves.png"


def main(argv: Sequence[str]) -> int:
    options = _parse_options(argv)
    recipe = RECIPES[options.model]
    given = {name: getattr(options, name) for name in ("epochs", "members") if getattr(options, name)}
    recipe = dataclasses.replace(recipe, **given)
    output = Path(options.output)
    check_new_model(output, MODEL_FILE)
    labels_path = find_asset(
        dataclasses.replace(CLASS_LABELS, fallback_hint="a list index,mid,display_name of your own classes"),
        options.class_labels,
        options.assets_dir,
    )
    labels_csv = Path(labels_path).read_text()
    names = read_display_names(labels_csv.splitlines(keepends=True), labels_path)
    clips = load_clips(options.features, len(names))
    evaluated = load_clips(options.evaluate, len(names)) if options.evaluate else None
    chosen = np.array([is_held_out(video_id, options.held_out) for video_id in clips.video_ids])
    held_out, training = clips.where(chosen), clips.where(~chosen)
    sizes = f"{counted(len(training.codes), 'clip')} to train on, {len(held_out.codes):,} held out"
    if not training.labels.any() or (options.held_out and not held_out.labels.any()):
        raise SettingError(
            f"{options.features}: {sizes}, and one of them has no labels; give a folder of more clips "
            "with labels"
        )
    say(f"{sizes}, {counted(len(names), 'class', 'classes')}")

    curves: dict[str, list[float]] = {"loss": [], "mAP": []}
    started = time.perf_counter(), time.process_time()

    def end_epoch(epoch: int, loss: float, model: keras.Model) -> None:
        curves["loss"].append(loss)
        line = f"epoch {epoch} of {recipe.epochs}: loss {loss:.3f}"
        if len(held_out.codes):
            curves["mAP"].append(_score(model, held_out, names).mean_average_precision)
            line += f", held-out mAP {curves['mAP'][-1]:.4f}"
        say(line, flush=True)

    model = train(recipe, training, options.seed, end_epoch)
    seconds, cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    say(f"trained in {seconds:.0f} s, with {cpu_seconds:.0f} s of CPU time")
    report: dict[str, Any] = {
        "features": options.features,
        "embedded_with": embedded_with(options.features),
        "model": options.model,
        "recipe": dataclasses.asdict(recipe),
        "seed": options.seed,
        "parameters": model.count_params(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "curves": curves,
    }
    write_atomic(output / LABELS_FILE, lambda path: path.write_text(labels_csv))
    write_atomic(output / MODEL_FILE, model.save)  # before the files that describe it
    write_atomic(output / CURVES_FILE, lambda path: plot_curves(curves, path))
    for part, scored in (("held_out", held_out), ("evaluate", evaluated)):
        if scored is not None and len(scored.codes):
            scores = _score(model, scored, names)
            say(f"{part}: {scores}")
            report[part] = scores.to_json()
            write_atomic(output / f"{part}_{BY_CLASS_FILE}", functools.partial(write_by_class, scores))
    write_atomic(output / REPORT_FILE, lambda path: path.write_text(json.dumps(report, indent=2) + "\n"))
    say(f"written to {output}; tag a file with: python examples/tag_file.py {output} FILE")
    return 0


def _score(model: keras.Model, clips: Clips, names: Sequence[str]) -> Scores:
    return score_classes(clips.labels, predict(model, clips.codes), names)


def _parse_options(argv: Sequence[str]) -> Any:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("features", metavar="FEATURES", help="feature folder, or one of its splits, with labels")
    add("--output", metavar="DIR", required=True, help="folder for the model (required)")
    add(
        "--model",
        choices=tuple(RECIPES),
        default="attention",
        help="attention: networks with attention pooling over frames; logistic: logistic regression on the "
        "mean of the frames (default: %(default)s)",
    )
    evaluate = "another folder to measure the model on, such as the split eval"
    add("--evaluate", metavar="FEATURES", help=evaluate)
    held_out = "share of clips to hold out (default: %(default)s)"
    add("--held_out", metavar="X", type=float, default=0.1, help=held_out)
    add("--epochs", metavar="N", type=int, help="number of epochs (default: the model's)")
    add("--members", metavar="N", type=int, help="networks to average (default: the model's)")
    add("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    add("--class_labels", metavar="CSV", help="class_labels_indices.csv (default: the released one)")
    add("--assets_dir", metavar="DIR", help="folder to search first for the released class labels")
    options = parser.parse_args(argv)
    if not 0 <= options.held_out < 1:
        raise SettingError(f"--held_out={options.held_out}: give 0 to less than 1")
    check_at_least_one(options, "epochs", "members")
    return options


if __name__ == "__main__":
    sys.exit(run_main("train_classifier", lambda: main(sys.argv[1:])))
