"""Reads VGGish weights from TensorFlow checkpoints (V1, V2) or Keras weights; makes random ones from a seed.

In every case, weights are a mapping from the variable names of the released checkpoint to arrays.
"""

import functools
import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.vggish.params import EMBEDDING_SIZE, EXAMPLE_FRAMES, MEL_BANDS

RANDOM = "random:"
KERAS_SUFFIX = ".weights.h5"
V2_INDEX_SUFFIX = ".index"

# Four 2x2 poolings of 96 x 64, then 512 channels, flattened.
_FLAT_SIZE = EXAMPLE_FRAMES // 16 * (MEL_BANDS // 16) * 512
# Layer scope -> kernel shape, in the network's order. A layer's name in Keras is the last part of its scope.
KERNEL_SHAPES: dict[str, tuple[int, ...]] = {
    "vggish/conv1": (3, 3, 1, 64),
    "vggish/conv2": (3, 3, 64, 128),
    "vggish/conv3/conv3_1": (3, 3, 128, 256),
    "vggish/conv3/conv3_2": (3, 3, 256, 256),
    "vggish/conv4/conv4_1": (3, 3, 256, 512),
    "vggish/conv4/conv4_2": (3, 3, 512, 512),
    "vggish/fc1/fc1_1": (_FLAT_SIZE, 4096),
    "vggish/fc1/fc1_2": (4096, 4096),
    "vggish/fc2": (4096, EMBEDDING_SIZE),
}
VARIABLE_SHAPES: dict[str, tuple[int, ...]] = {
    f"{scope}/{name}": shape
    for scope, kernel in KERNEL_SHAPES.items()
    for name, shape in (("weights", kernel), ("biases", kernel[-1:]))
}
_KERAS_VARIABLES = {"0": "weights", "1": "biases"}
_SCOPES = {scope.rsplit("/", 1)[-1]: scope for scope in KERNEL_SHAPES}

# Variable name, a key of VARIABLE_SHAPES -> float32 array.
Weights = Mapping[str, NDArray[np.float32]]


class _LazyWeights(Mapping[str, NDArray[np.float32]]):
    """Weights that are read one variable at a time, since two copies of all variables take 0.6 GB.

    Args:
      read: variable name -> its array.
    """

    def __init__(self, read: Callable[[str], NDArray[np.float32]]):
        self._read = read

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in VARIABLE_SHAPES:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(VARIABLE_SHAPES)

    def __len__(self) -> int:
        return len(VARIABLE_SHAPES)


def read_weights(source: str) -> Weights:
    """Open VGGish weights: 18 float32 variables with the names of the released checkpoint.

    Args:
      source: path of a TensorFlow checkpoint (the V1 file; the V2 prefix or its `.index` file) or of a Keras
        `.weights.h5` file; or `random:SEED` for tests, whose embeddings are meaningless.

    Returns:
      A mapping that reads a variable at each access.

    Raises:
      SettingError: it is not a checkpoint, or variables are missing, extra or have another shape (the message
        lists all). Accessing a variable also raises it if the values cannot be read.
    """
    if source.startswith(RANDOM):
        text = source.removeprefix(RANDOM)
        if not text.isdecimal():
            raise SettingError(f"weights {source}: {text!r} is not a seed; give an integer, such as random:0")
        return _LazyWeights(functools.partial(_random_variable, int(text)))
    try:
        if source.endswith(KERAS_SUFFIX):
            shapes, read = _open_keras(source)
        else:
            shapes, read = _open_tensorflow(source)
    except Exception as error:  # h5py and TensorFlow have no common error type for a damaged file
        raise _unreadable(source, error) from error
    _check_shapes(shapes, source)

    def read_checked(name: str) -> NDArray[np.float32]:
        try:
            return read(name).astype(np.float32, copy=False)
        except Exception as error:  # the same holds for damaged values
            raise _unreadable(source, error) from error

    return _LazyWeights(read_checked)


def check_weights(source: str) -> None:
    """Read all weights once, one variable at a time.

    Raises:
      SettingError: as in `read_weights`, or a value is NaN or infinite.
    """
    weights = read_weights(source)
    if source.startswith(RANDOM):
        return
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise SettingError(f"weights {source}: {name} has NaN or infinite values; give other weights")


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    problems = [f"missing {name}" for name in VARIABLE_SHAPES if name not in shapes]
    problems += [f"extra {name}" for name in sorted(shapes) if name not in VARIABLE_SHAPES]
    problems += [
        f"{name} is {list(shapes[name])}, not {list(shape)}"
        for name, shape in VARIABLE_SHAPES.items()
        if shapes.get(name, shape) != shape
    ]
    if problems:
        raise SettingError(
            f"weights {source}: not a VGGish checkpoint ({'; '.join(problems)}); give the released "
            f"vggish_model.ckpt or a checkpoint with its {len(VARIABLE_SHAPES)} variables"
        )


def _unreadable(path: str, error: Exception) -> SettingError:
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return SettingError(
        f"weights {path}: cannot be read as a checkpoint ({cause}); give a TensorFlow V1 or V2 "
        f"checkpoint or a Keras {KERAS_SUFFIX} file"
    )


_Opened = tuple[dict[str, tuple[int, ...]], Callable[[str], NDArray]]


def _open_tensorflow(path: str) -> _Opened:
    from transforms.frameworks import tf  # needed only for TensorFlow's format, not for Keras weights

    def read(name: str) -> NDArray:
        with _without_globs(path) as plain:
            return tf.train.load_checkpoint(plain).get_tensor(name)

    path = path.removesuffix(V2_INDEX_SUFFIX)
    with _without_globs(path) as plain:
        shapes = tf.train.load_checkpoint(plain).get_variable_to_shape_map()
    return {name: tuple(shape) for name, shape in shapes.items()}, read


@contextmanager
def _without_globs(path: str) -> Iterator[str]:
    """Yield a path of the same checkpoint that is no glob, since TensorFlow takes a path for one."""
    if not re.search(r"[*?\[\\]", path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
        plain = os.path.join(folder, "model")
        for file in (path, *glob.glob(f"{glob.escape(path)}.*")):
            os.symlink(os.path.abspath(file), plain + file.removeprefix(path))
        yield plain


def _open_keras(path: str) -> _Opened:
    """Open a file with the layout that `Model.save_weights` writes."""
    import h5py

    datasets: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(_, node) -> None:
        # `vars` groups have the layer's name as an attribute, and the datasets "0" (kernel) and "1" (bias).
        if not isinstance(node, h5py.Group) or "name" not in node.attrs:
            return
        layer = str(node.attrs["name"])
        for key in node:
            check_is_internal(node, key)
            name = f"{_SCOPES.get(layer, layer)}/{_KERAS_VARIABLES.get(key, key)}"
            datasets[name], shapes[name] = node[key].name, node[key].shape

    def check_is_internal(group: h5py.Group, key: str) -> None:
        """Raise ValueError if a group's member is a link or has its values in other files."""
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name.rstrip('/')}/{key} is a link, which is not followed")
        node = group[key]
        if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
            raise ValueError(f"{node.name} has its values in other files, which are not read")

    with h5py.File(path, "r") as file:
        if "layers" in file:
            check_is_internal(file, "layers")
        if isinstance(file.get("layers"), h5py.Group):  # the file may also contain an optimizer's state
            file["layers"].visititems(visit)

    def read(name: str) -> NDArray:
        with h5py.File(path, "r") as file:
            return file[datasets[name]][()]

    return shapes, read


def _random_variable(seed: int, name: str) -> NDArray[np.float32]:
    """Return He-scaled noise; the last layer's gain gives embeddings about the spread of released ones."""
    shape = VARIABLE_SHAPES[name]
    scope, kind = name.rsplit("/", 1)
    if kind == "biases":
        return np.zeros(shape, np.float32)
    generator = np.random.default_rng([seed, list(KERNEL_SHAPES).index(scope)])
    gain = 0.1 if scope == "vggish/fc2" else np.sqrt(2.0)
    values = generator.standard_normal(shape, dtype=np.float32)
    values *= np.float32(gain / np.sqrt(np.prod(shape[:-1])))
    return values
