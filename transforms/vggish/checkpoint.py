"""VGGish weights: TensorFlow checkpoints (V1, V2), Keras weights, or noise from a seed.

Whatever the file, weights are a mapping from the released checkpoint's variable names to arrays.
"""

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.vggish.params import EMBEDDING_SIZE, EXAMPLE_FRAMES, MEL_BANDS

RANDOM = "random:"
KERAS_SUFFIX = ".weights.h5"
V2_INDEX_SUFFIX = ".index"

# Four 2x2 poolings of 96 x 64, then 512 channels, flattened.
_FLAT = EXAMPLE_FRAMES // 16 * (MEL_BANDS // 16) * 512
# Layer scope -> kernel shape, in the network's order; Keras's layer name is the scope's last part.
KERNEL_SHAPES: dict[str, tuple[int, ...]] = {
    "vggish/conv1": (3, 3, 1, 64),
    "vggish/conv2": (3, 3, 64, 128),
    "vggish/conv3/conv3_1": (3, 3, 128, 256),
    "vggish/conv3/conv3_2": (3, 3, 256, 256),
    "vggish/conv4/conv4_1": (3, 3, 256, 512),
    "vggish/conv4/conv4_2": (3, 3, 512, 512),
    "vggish/fc1/fc1_1": (_FLAT, 4096),
    "vggish/fc1/fc1_2": (4096, 4096),
    "vggish/fc2": (4096, EMBEDDING_SIZE),
}
VARIABLE_SHAPES: dict[str, tuple[int, ...]] = {
    f"{scope}/{name}": shape
    for scope, kernel in KERNEL_SHAPES.items()
    for name, shape in (("weights", kernel), ("biases", kernel[-1:]))
}
_SCOPES = {scope.rsplit("/", 1)[-1]: scope for scope in KERNEL_SHAPES}

Weights = dict[str, NDArray[np.float32]]


def check_weights(source: str) -> None:
    """Checks names and shapes of the variables of `source` without reading their values.

    Raises:
      SettingError: it is no checkpoint, or has missing, extra or misshapen variables, all listed.
    """
    if source.startswith(RANDOM):
        _seed(source)
    else:
        _check_shapes(_file_shapes(source), source)


def read_weights(source: str) -> Weights:
    """Reads all 18 variables, float32, by their names in the released checkpoint.

    Args:
      source: path of a TensorFlow checkpoint (the V1 file; the V2 prefix or its `.index` file), or
        of a Keras `.weights.h5` file; or `random:SEED`, for trials: its embeddings mean nothing.

    Raises:
      SettingError: as `check_weights`.
    """
    if source.startswith(RANDOM):
        return _random_weights(_seed(source))
    check_weights(source)
    try:
        if source.endswith(KERAS_SUFFIX):
            return _read_keras(source)
        reader = _tensorflow_reader(source)
        return {name: reader.get_tensor(name) for name in VARIABLE_SHAPES}
    except Exception as error:  # h5py and TensorFlow have no common error for damaged values
        raise _unreadable(source, error) from error


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    faults = [f"missing {name}" for name in VARIABLE_SHAPES if name not in shapes]
    faults += [f"extra {name}" for name in sorted(shapes) if name not in VARIABLE_SHAPES]
    faults += [
        f"{name} is {list(shapes[name])}, not {list(shape)}"
        for name, shape in VARIABLE_SHAPES.items()
        if shapes.get(name, shape) != shape
    ]
    if faults:
        raise SettingError(
            f"weights {source}: not a VGGish checkpoint ({'; '.join(faults)}); give the released "
            f"vggish_model.ckpt or a checkpoint with its {len(VARIABLE_SHAPES)} variables"
        )


def _file_shapes(path: str) -> dict[str, tuple[int, ...]]:
    try:
        if path.endswith(KERAS_SUFFIX):
            return _keras_shapes(path)
        shapes = _tensorflow_reader(path).get_variable_to_shape_map()
        return {name: tuple(shape) for name, shape in shapes.items()}
    except Exception as error:  # h5py and TensorFlow have no common error for a damaged file
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> SettingError:
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return SettingError(
        f"weights {path}: cannot be read as a checkpoint ({cause}); give a TensorFlow V1 or V2 "
        f"checkpoint or a Keras {KERAS_SUFFIX} file"
    )


def _tensorflow_reader(path: str):
    import tensorflow as tf  # the only way to read its format; not needed for Keras's

    return tf.train.load_checkpoint(path.removesuffix(V2_INDEX_SUFFIX))


def _keras_layers(path: str) -> dict[str, list[NDArray]]:
    """Layer name -> its arrays, [kernel, bias], from the layout that `Model.save_weights` writes."""
    import h5py

    layers: dict[str, list[NDArray]] = {}

    def visit(_, node) -> None:
        # `vars` groups carry the layer's name; their datasets are "0" and "1".
        if isinstance(node, h5py.Group) and "name" in node.attrs and len(node):
            layers[str(node.attrs["name"])] = [node[key] for key in sorted(node, key=int)]

    with h5py.File(path, "r") as file:
        if isinstance(file.get("layers"), h5py.Group):  # beside it may stand an optimizer's state
            file["layers"].visititems(visit)
        return {name: [np.asarray(array) for array in arrays] for name, arrays in layers.items()}


def _read_keras(path: str) -> Weights:
    return {
        f"{_SCOPES.get(layer, layer)}/{name}": array.astype(np.float32)
        for layer, arrays in _keras_layers(path).items()
        for name, array in zip(("weights", "biases"), arrays, strict=True)
    }


def _keras_shapes(path: str) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in _read_keras(path).items()}


def _seed(source: str) -> int:
    text = source.removeprefix(RANDOM)
    if not text.isdecimal():
        raise SettingError(f"weights {source}: {text!r} is no seed; give a whole number, as in random:0")
    return int(text)


# A second's work that the launcher and the worker in its process can share.
@functools.lru_cache(maxsize=1)
def _random_weights(seed: int) -> Weights:
    """He-scaled noise; the last layer is scaled so that embeddings spread about as released ones."""
    weights: Weights = {}
    for index, (scope, shape) in enumerate(KERNEL_SHAPES.items()):
        generator = np.random.default_rng([seed, index])
        gain = 0.1 if scope == "vggish/fc2" else np.sqrt(2.0)
        scale = np.float32(gain / np.sqrt(np.prod(shape[:-1])))
        weights[f"{scope}/weights"] = scale * generator.standard_normal(shape, dtype=np.float32)
        weights[f"{scope}/biases"] = np.zeros(shape[-1], np.float32)
    return weights
