"""The classifier of train_classifier.py and tag_file.py: loading clips, models and training."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from pipeline.assets.released import PCA_PARAMS, WEIGHTS
from pipeline.output.feature_folder import read_manifest
from transforms.audioset.dataset import load_dataset, reading
from transforms.audioset.labels import read_display_names
from transforms.audioset.reading import NUM_FRAMES, VALUES
from transforms.errors import SettingError
from transforms.vggish.params import EMBEDDING_SIZE

MODEL_FILE, LABELS_FILE, REPORT_FILE = "model.keras", "class_labels_indices.csv", "report.json"

_PREDICT_BATCH = 512


class Clips(NamedTuple):
    """Clips in memory, 1.3 kB each.

    Attributes:
      video_ids: bytes, [n].
      codes: uint8[n, 10, 128]; clips with fewer frames are repeated, so that no model needs a mask.
      labels: bool[n, classes].
    """

    video_ids: NDArray
    codes: NDArray[np.uint8]
    labels: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "Clips":
        return Clips(self.video_ids[chosen], self.codes[chosen], self.labels[chosen])


def load_clips(folder: str, num_classes: int) -> Clips:
    """Return all clips of a feature folder, or of one of its splits.

    Raises:
      SettingError: The folder has no features, raw features, or a record with a label beyond the classes.
    """
    with reading(folder):
        dataset = load_dataset(folder, num_classes, dequantized=False)
        batches = list(dataset.as_numpy_iterator())
    video_ids, codes, num_frames, labels = (
        np.concatenate([batch[key] for batch in batches])
        for key in ("video_id", "embeddings", "num_frames", "labels")
    )
    places = np.arange(NUM_FRAMES) % np.maximum(num_frames, 1)[:, np.newaxis]
    return Clips(video_ids, np.take_along_axis(codes, places[..., np.newaxis], axis=1), labels > 0)


@dataclass(frozen=True)
class Recipe:
    """How to build and train a classifier; docs/classifier.md has the results of other settings."""

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3  # the largest: it rises for a tenth of the steps, then falls to 0 by a cosine
    mixup: float = 0.0  # both parameters of the beta distribution of a clip's share in a mix; 0: not mixed
    members: int = 1  # networks that learn at the same time, and whose scores are averaged
    widths: tuple[int, ...] = ()  # units of each layer on frames, with GELU
    heads: int = 0  # of attention pooling; 0: the mean of the frames
    clip_width: int = 0  # units of the layer after pooling, with GELU; 0: no such layer
    frame_dropout: float = 0.0  # after each layer on frames
    clip_dropout: float = 0.0  # after pooling, and after the layer that follows it


RECIPES = {
    "attention": Recipe(
        epochs=16,
        mixup=0.5,
        members=4,
        widths=(512,),
        heads=4,
        clip_width=1024,
        frame_dropout=0.3,
        clip_dropout=0.5,
    ),
    "logistic": Recipe(epochs=24),
}


@keras.saving.register_keras_serializable("audioset_beam")
class AttentionPooling(layers.Layer):
    """[n, frames, d] -> [n, heads * d]: one mean of the frames per head, weighted by its attention."""

    def __init__(self, heads: int, **options: Any):
        super().__init__(**options)
        self.heads = heads
        self._attention = layers.Dense(heads)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self._attention.build(shape)

    def call(self, frames: Any) -> Any:
        weights = ops.softmax(self._attention(frames), axis=1)
        pooled = ops.einsum("nfh,nfd->nhd", weights, frames)
        return ops.reshape(pooled, (-1, self.heads * frames.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}


def build_classifier(recipe: Recipe, num_classes: int, frequency: float) -> tuple[keras.Model, keras.Model]:
    """Return a model to train and the model to use afterwards, which share their weights.

    Args:
      recipe: The number of networks and their layers.
      num_classes: Number of classes.
      frequency: Share of the clips that have a class, averaged over the classes; the initial output.

    Returns:
      Two models whose input is float32[n, frames, 128], dequantized, with any number of frames. The first
      returns logits float32[n, members, classes], the second scores float32[n, classes], from 0 to 1.
    """
    bias = keras.initializers.Constant(math.log(frequency / (1 - frequency)))
    frames = keras.Input((None, EMBEDDING_SIZE), name="embeddings")
    members = []
    for number in range(recipe.members):
        hidden = frames
        for width in recipe.widths:
            hidden = layers.Dense(width, "gelu")(hidden)
            hidden = layers.Dropout(recipe.frame_dropout)(hidden)
        if recipe.heads:
            clip = AttentionPooling(recipe.heads, name=f"attention_{number}")(hidden)
        else:
            clip = layers.GlobalAveragePooling1D()(hidden)
        clip = layers.Dropout(recipe.clip_dropout)(clip)
        if recipe.clip_width:
            clip = layers.Dense(recipe.clip_width, "gelu")(clip)
            clip = layers.Dropout(recipe.clip_dropout)(clip)
        members.append(layers.Dense(num_classes, bias_initializer=bias)(clip))
    logits = ops.stack(members, axis=1)
    scores = ops.mean(ops.sigmoid(logits), axis=1)
    return keras.Model(frames, logits), keras.Model(frames, scores, name="classifier")


def train(
    recipe: Recipe, clips: Clips, seed: int, end_epoch: Callable[[int, float, keras.Model], None]
) -> keras.Model:
    """Train a classifier.

    Args:
      recipe: Networks and training.
      clips: Clips to train on.
      seed: Seed of all random numbers.
      end_epoch: Called after each epoch with the number of epochs done, its loss, and the current model.

    Returns:
      A model from float32[n, frames, 128], dequantized, to scores float32[n, classes], from 0 to 1.
    """
    keras.utils.set_random_seed(seed)
    batches = _Mixed(clips, recipe.batch_size, recipe.mixup, seed)
    model, classifier = build_classifier(recipe, clips.labels.shape[1], float(clips.labels.mean()))
    steps = recipe.epochs * len(batches)
    warmup = {"warmup_target": recipe.learning_rate, "warmup_steps": steps // 10}
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate / 10, steps - steps // 10, **warmup)
    model.compile(keras.optimizers.Adam(rate), _cross_entropy)

    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: end_epoch(epoch + 1, logs["loss"], classifier)
    )
    model.fit(batches, epochs=recipe.epochs, verbose=0, callbacks=[callback])
    return classifier


def predict(classifier: keras.Model, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return scores float32[n, classes] of codes uint8[n, frames, 128]."""
    batches = np.split(codes, range(_PREDICT_BATCH, len(codes), _PREDICT_BATCH))
    return np.concatenate([classifier.predict_on_batch(VALUES[batch]) for batch in batches])


def embedded_with(folder: str) -> dict[str, Any]:
    """Return the weights and PCA parameters of a feature folder, or of one of its splits.

    Returns:
      SHA-256 of "weights" and of "pca_params", None without PCA. A folder without a manifest of this pipeline
      counts as released.
    """
    path = folder.rstrip("/")
    manifest = read_manifest(path) or read_manifest(os.path.dirname(path) or ".")
    settings = manifest["settings"] if manifest else {}
    assets = {"weights": WEIGHTS, "pca_params": PCA_PARAMS}
    return {name: settings.get(name, None if settings else asset.sha256) for name, asset in assets.items()}


def read_classifier(folder: Path) -> tuple[keras.Model, list[str]]:
    """Return a model that train_classifier.py saved, and the display names of its classes.

    Raises:
      SettingError: The folder has no model, or the model cannot be read.
    """
    for name in (MODEL_FILE, LABELS_FILE, REPORT_FILE):
        if not (folder / name).is_file():
            raise SettingError(f"{folder}: has no {name}; give a folder that train_classifier.py wrote")
    with open(folder / LABELS_FILE, newline="") as file:
        names = read_display_names(file, str(folder / LABELS_FILE))
    try:
        model = keras.models.load_model(folder / MODEL_FILE, compile=False)
    except Exception as error:  # zipfile, h5py and Keras have no common error
        raise SettingError(f"{folder / MODEL_FILE}: cannot be read ({error}); train it again") from error
    return model, names


def trained_with(folder: Path) -> dict[str, Any]:
    """Return what `embedded_with` returned for the features that a model was trained on.

    Raises:
      SettingError: The report of the training is damaged.
    """
    try:
        return dict(json.loads((folder / REPORT_FILE).read_text())["embedded_with"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingError(
            f"{folder / REPORT_FILE}: does not name the weights of the features ({error!r}); train it again"
        ) from error


def _cross_entropy(labels: Any, logits: Any) -> Any:
    """Sum over the classes and take the mean over the members, so that each learns independently."""
    labels = ops.broadcast_to(labels[:, None], ops.shape(logits))
    return ops.mean(ops.sum(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1), axis=-1)


class _Mixed(keras.utils.PyDataset):
    """Batches of clips, each mixed with another clip, in a different order in each epoch.

    Mixing: H. Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    def __init__(self, clips: Clips, batch_size: int, mixup: float, seed: int):
        super().__init__()
        self._clips, self._mixup, self._seed = clips, mixup, seed
        self._batch_size = min(batch_size, len(clips.codes))
        self._epoch = -1
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._clips.codes))

    def __len__(self) -> int:
        return len(self._order) // self._batch_size

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        frames, labels = VALUES[self._clips.codes[rows]], self._clips.labels[rows].astype(np.float32)
        if not self._mixup:
            return frames, labels
        rng = np.random.default_rng([self._seed, self._epoch, number])
        others = rng.permutation(len(rows))
        share = rng.beta(self._mixup, self._mixup, (len(rows), 1)).astype(np.float32)
        frames = share[..., np.newaxis] * frames + (1 - share[..., np.newaxis]) * frames[others]
        return frames, share * labels + (1 - share) * labels[others]
