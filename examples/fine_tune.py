"""Trains VGGish as the lower part of a larger model, whole or frozen.

    python examples/fine_tune.py --output=DIR                   # on synthetic sines, constants and noise
    python examples/fine_tune.py --output=DIR --audio=FOLDER    # FOLDER/CLASS/*.wav, one folder per class
    python examples/fine_tune.py --output=DIR --frozen          # trains only the layers above VGGish

Writes a checkpoint after each epoch, and the same command resumes from it. At the end DIR contains
`model.keras` (from log-mel examples to class probabilities), `classes.json`, and `vggish.weights.h5`,
which this and all other commands accept as `--weights`.
"""

import pipeline  # noqa: F401, before Keras: it imports TensorFlow without its start-up messages

# isort: split

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from helpers import check_at_least_one, check_new_model, is_held_out, write_atomic
from numpy.typing import NDArray

from pipeline.assets.resolve import find_weights
from pipeline.cli.option_groups import WEIGHTS, add_options
from pipeline.cli.parser import OneLineParser
from pipeline.embed import read_waveform
from pipeline.process.main import run_main
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.errors import ClipError, SettingError
from transforms.printable import say
from transforms.vggish.checkpoint import KERAS_SUFFIX, read_weights
from transforms.vggish.model import build_vggish
from transforms.vggish.params import EXAMPLE_FRAMES, MEL_BANDS, SAMPLE_RATE_HZ

MODEL_FILE, CLASSES_FILE, VGGISH_FILE = "model.keras", "classes.json", f"vggish{KERAS_SUFFIX}"
SETTINGS_FILE, CHECKPOINT_FOLDER = "settings.json", "checkpoint"
SYNTHETIC = ("sine", "constant", "noise")

# Units above VGGish, learning rate of the whole, Adam's epsilon: tensorflow/models, research/audioset/vggish,
# vggish_train_demo.py and vggish_params.py. The layers above VGGish alone can learn faster.
_HIDDEN_UNITS, _LEARNING_RATE, _ADAM_EPSILON = 100, 1e-4, 1e-8
_FROZEN_LEARNING_RATE = 1e-3
_CLIP_S = 4.0
_HELD_OUT = 0.2


class Examples(NamedTuple):
    """Log-mel examples float32[n, 96, 64] and the numbers of their classes, int64[n]."""

    log_mel: NDArray[np.float32]
    classes: NDArray[np.int64]


def synthetic_examples(clips: int, seed: int) -> Examples:
    """Return examples of sines, constants and white noise of random pitch and level, `clips` per class."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(_CLIP_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ

    def sine() -> NDArray:
        frequency_hz = rng.uniform(20.0, SAMPLE_RATE_HZ / 2)
        level = rng.uniform(0.1, 1.0)
        return level * np.sin(2 * np.pi * frequency_hz * times_s + rng.uniform(0.0, 2 * np.pi))

    def constant() -> NDArray:
        return np.full(len(times_s), rng.uniform(-1.0, 1.0))

    def noise() -> NDArray:
        return rng.uniform(0.01, 0.3) * rng.standard_normal(len(times_s))

    sounds = list(enumerate((sine, constant, noise)))
    return _joined([(log_mel_examples(make()), number) for _ in range(clips) for number, make in sounds])


def folder_examples(folder: Path) -> tuple[Examples, Examples, list[str]]:
    """Return training examples, held-out examples and class names of one folder of audio per class.

    A fifth of the files is held out, chosen by a hash of their names.

    Raises:
      SettingError: There are fewer than two classes, a file cannot be read, all files of a class are held
        out, or no file is.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(names) < 2:
        raise SettingError(f"--audio={folder}: give a folder with one folder of audio files per class")
    train: list[tuple[NDArray[np.float32], int]] = []
    held_out: list[tuple[NDArray[np.float32], int]] = []
    for number, name in enumerate(names):
        num_before = len(train)
        for path in sorted(path for path in (folder / name).iterdir() if path.is_file()):
            part = held_out if is_held_out(path.stem, _HELD_OUT) else train
            part.append((_file_examples(path), number))
        if len(train) == num_before:
            raise SettingError(f"{folder / name}: has no file to train on; give more files")
    if not held_out:
        raise SettingError(f"--audio={folder}: too few files to hold some of them out; give more")
    return _joined(train), _joined(held_out), names


def _file_examples(path: Path) -> NDArray[np.float32]:
    waveform, rate_hz = read_waveform(str(path))
    try:
        return np.concatenate(list(waveform_examples([waveform], rate_hz)))
    except ClipError as error:
        raise SettingError(f"{path}: {error}; give a longer file, or remove it") from error


def _joined(made: list[tuple[NDArray[np.float32], int]]) -> Examples:
    classes = [np.full(len(examples), number, np.int64) for examples, number in made]
    return Examples(np.concatenate([examples for examples, _ in made]), np.concatenate(classes))


def build_model(vggish: keras.Model, num_classes: int) -> keras.Model:
    """Return a model from float32[n, 96, 64] to probabilities float32[n, num_classes] that sum to 1."""
    log_mel = keras.Input((EXAMPLE_FRAMES, MEL_BANDS), name="log_mel")
    features = keras.layers.ReLU(name="features")(vggish(log_mel))
    hidden = keras.layers.Dense(_HIDDEN_UNITS, "relu", name="hidden")(features)
    return keras.Model(log_mel, keras.layers.Dense(num_classes, "softmax", name="classes")(hidden))


class _Shuffled(keras.utils.PyDataset):
    """Batches in an order that depends only on the epoch, so that a resumed training sees the same ones."""

    def __init__(self, examples: Examples, batch_size: int, seed: int):
        super().__init__()
        self._examples, self._batch_size, self._seed = examples, batch_size, seed
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int, logs: Any = None) -> None:
        self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._examples.classes))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[NDArray, NDArray]:
        rows = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        return self._examples.log_mel[rows], self._examples.classes[rows]


def train(
    model: keras.Model, examples: Examples, held_out: Examples, options: argparse.Namespace, folder: Path
) -> float:
    """Train a model, from its last checkpoint if there is one; return its accuracy on held-out examples.

    Args:
      model: As `build_model` returns.
      examples, held_out: Examples to train on, and to measure the accuracy on.
      options: Of the command line.
      folder: Folder of the checkpoint.
    """
    optimizer = keras.optimizers.Adam(options.learning_rate, epsilon=_ADAM_EPSILON)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    batches = _Shuffled(examples, options.batch_size, options.seed)

    def report(epoch: int, logs: dict[str, float]) -> None:
        say(
            f"epoch {epoch + 1}: loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.1%}, "
            f"held out {logs['val_accuracy']:.1%}",
            flush=True,
        )

    model.fit(
        batches,
        validation_data=tuple(held_out),
        validation_batch_size=64,
        epochs=options.epochs,
        shuffle=False,  # Keras would shuffle the batches too, and a resumed training would see another order
        verbose=0,
        callbacks=[
            # If a kill leaves an incomplete checkpoint, the one before it is used.
            keras.callbacks.BackupAndRestore(folder, double_checkpoint=True),
            keras.callbacks.LambdaCallback(on_epoch_begin=batches.begin_epoch, on_epoch_end=report),
        ],
    )
    return float(model.evaluate(*held_out, batch_size=64, verbose=0)[1])


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    per_class = "folder with one folder of audio files per class (default: synthetic sounds)"
    rates = f"learning rate (default: {_LEARNING_RATE}, or {_FROZEN_LEARNING_RATE} with --frozen)"
    add("--output", metavar="DIR", required=True, help="folder for the models (required)")
    add("--audio", metavar="FOLDER", help=per_class)
    add("--frozen", action="store_true", help="train only the layers above VGGish")
    add("--epochs", type=int, default=4, help="number of epochs (default: %(default)s)")
    add("--batch_size", type=int, default=32, help="examples per batch (default: %(default)s)")
    add("--learning_rate", type=float, help=rates)
    add("--clips", type=int, default=40, help="synthetic clips per class, of 4 s each (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of random numbers (default: %(default)s)")
    add_options(parser, WEIGHTS)
    options = parser.parse_args(argv)
    if options.learning_rate is None:
        options.learning_rate = _FROZEN_LEARNING_RATE if options.frozen else _LEARNING_RATE
    if not 0 < options.learning_rate < 1:
        raise SettingError(f"--learning_rate={options.learning_rate}: give more than 0 and less than 1")
    check_at_least_one(options, "epochs", "batch_size", "clips")
    weights = find_weights(options.weights, options.assets_dir)
    say(f"weights: {weights}")
    folder = Path(options.output)
    check_new_model(folder, MODEL_FILE)
    check_settings(folder, {**vars(options), "output": None, "weights": weights.sha256 or weights.path})
    if options.audio is None:
        examples = synthetic_examples(options.clips, options.seed)
        held_out = synthetic_examples(max(1, options.clips // 4), options.seed + 1)
        classes = list(SYNTHETIC)
    else:
        examples, held_out, classes = folder_examples(Path(options.audio))
    say(
        f"{len(classes)} classes ({', '.join(classes)}), {len(examples.classes):,} examples to train on, "
        f"{len(held_out.classes):,} held out"
    )

    keras.utils.set_random_seed(options.seed)
    vggish = build_vggish(read_weights(weights.path))
    vggish.trainable = not options.frozen
    model = build_model(vggish, len(classes))
    accuracy = train(model, examples, held_out, options, folder / CHECKPOINT_FOLDER)
    say(f"accuracy on held-out examples: {accuracy:.1%}")
    write_atomic(folder / CLASSES_FILE, lambda path: path.write_text(json.dumps(classes)))
    write_atomic(folder / VGGISH_FILE, vggish.save_weights)
    write_atomic(folder / MODEL_FILE, model.save)
    say(f"written to {folder}; to embed with it: --weights={folder / VGGISH_FILE}")
    return 0


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Save the settings of a training, or compare them with those of the interrupted training in the folder.

    Settings without a checkpoint are of a command that failed before its first epoch ended, and are replaced.

    Raises:
      SettingError: The settings differ.
    """
    path, checkpoint = folder / SETTINGS_FILE, folder / CHECKPOINT_FOLDER
    if not path.exists() or not checkpoint.exists() or not any(checkpoint.iterdir()):
        write_atomic(path, lambda path: path.write_text(json.dumps(settings)))
    before = json.loads(path.read_text())
    for name, value in settings.items():
        if before.get(name) != value:
            raise SettingError(
                f"--output={folder}: contains a training started with {name} {before.get(name)}, but this "
                f"command has {value}; give another folder"
            )


if __name__ == "__main__":
    sys.exit(run_main("fine_tune", lambda: main(sys.argv[1:])))
