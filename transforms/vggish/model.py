"""The VGGish network in Keras 3, on whichever backend Keras has (TensorFlow, JAX or PyTorch)."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.frameworks import keras
from transforms.vggish.batches import FixedBatches
from transforms.vggish.checkpoint import Weights
from transforms.vggish.params import EMBEDDING_SIZE, EXAMPLE_FRAMES, MEL_BANDS
from transforms.vggish.precision import FLOAT16, FLOAT32, exact_products

# Of a tensor's first byte: Eigen's EIGEN_MAX_ALIGN_BYTES, as TensorFlow is built.
_ALIGNMENT_BYTES = 64


def build_vggish(weights: Weights | None = None, dtype: str = FLOAT32) -> keras.Model:
    """The network from a log-mel example to its embedding.

    Args:
      weights: as `checkpoint.read_weights` returns; None leaves Keras's initial values.
      dtype: what every layer computes in and holds its weights in, one of `precision.PRECISIONS`. Weights in
        float32 under layers of bfloat16 would give the same bits, with a cast at each call.

    Returns:
      A model from float32[n, 96, 64] to float32[n, 128], whatever the dtype within. The last dense layer has
      no ReLU: the released AudioSet features were made without one (tensorflow/models pull request 9080).
    """
    if dtype == FLOAT16:
        _keep_layers_apart()
    layers = keras.layers

    def conv(scope: str, filters: int) -> keras.Layer:
        options = _layer_options(scope, weights, dtype)
        return layers.Conv2D(
            filters, 3, padding="same", activation="relu", data_format="channels_last", **options
        )

    def dense(scope: str, units: int, activation: str | None = "relu") -> keras.Layer:
        return layers.Dense(units, activation, **_layer_options(scope, weights, dtype))

    def pool(name: str) -> keras.Layer:
        return layers.MaxPooling2D(2, padding="same", data_format="channels_last", name=name, dtype=dtype)

    model = keras.Sequential(
        [
            keras.Input((EXAMPLE_FRAMES, MEL_BANDS), name="log_mel"),
            layers.Reshape((EXAMPLE_FRAMES, MEL_BANDS, 1), name="channel", dtype=dtype),
            conv("vggish/conv1", 64),
            pool("pool1"),
            conv("vggish/conv2", 128),
            pool("pool2"),
            conv("vggish/conv3/conv3_1", 256),
            conv("vggish/conv3/conv3_2", 256),
            pool("pool3"),
            conv("vggish/conv4/conv4_1", 512),
            conv("vggish/conv4/conv4_2", 512),
            pool("pool4"),
            layers.Flatten(data_format="channels_last", name="flatten", dtype=dtype),
            dense("vggish/fc1/fc1_1", 4096),
            dense("vggish/fc1/fc1_2", 4096),
            dense("vggish/fc2", EMBEDDING_SIZE, activation=None),
            layers.Identity(name="embedding", dtype=FLOAT32),
        ],
        name="vggish",
    )
    for layer in model.layers if weights is not None else ():
        if layer.weights:  # the layer is made; what made it cannot be saved with the model
            layer.kernel_initializer = keras.initializers.get("glorot_uniform")
            layer.bias_initializer = keras.initializers.get("zeros")
    return model


def take_memory_as_needed() -> None:
    """Lets TensorFlow and JAX take a card's memory as they need it and not all of it as they start.

    PyTorch does so anyway. It must be called before anything is computed; later it changes nothing.
    """
    if keras.backend.backend() == "jax":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for card in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # it is at work
            tf.config.experimental.set_memory_growth(card, True)


def _keep_layers_apart() -> None:
    """Keeps TensorFlow from fusing convolution, bias and ReLU on CPU.

    oneDNN's fused kernels have no fast float16: four examples take seconds instead of 0.04 s. The setting is
    the process's; the bits of other precisions do not depend on it.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"remapping": False})


def _layer_options(scope: str, weights: Weights | None, dtype: str) -> dict[str, Any]:
    """Name, dtype and initial values of a layer: read straight into it, weights are in memory only once."""

    options: dict[str, Any] = {"name": scope.rsplit("/", 1)[-1], "dtype": dtype}
    if weights is None:
        return options

    def initial(name: str) -> Callable:
        return lambda shape, dtype=None: keras.ops.cast(_tensor(weights[name]), dtype)

    kernel, bias = initial(f"{scope}/weights"), initial(f"{scope}/biases")
    return options | {"kernel_initializer": kernel, "bias_initializer": bias}


def _tensor(values: NDArray[np.float32]) -> Any:
    """Values as the backend has them.

    TensorFlow's own conversion needs their memory twice more, 0.4 GB for the largest layer; through DLPack it
    takes them as they are, from where its kernels want them to begin.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_tensor(values)
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(_aligned(values).__dlpack__())


def _aligned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.ctypes.data % _ALIGNMENT_BYTES == 0 and values.flags.c_contiguous and values.flags.writeable:
        return values
    room = np.empty(values.nbytes + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    aligned = room[start : start + values.nbytes].view(np.float32).reshape(values.shape)
    aligned[...] = values
    return aligned


def export_keras_weights(weights: Weights, path: str) -> None:
    """Writes weights as Keras's `.weights.h5`, which machines without TensorFlow read too.

    Args:
      weights: as `checkpoint.read_weights` returns.
      path: of the file, ending with `.weights.h5`.

    Raises:
      ValueError: it ends otherwise.
    """
    build_vggish(weights).save_weights(path)


class Embedder:
    """Embeds clips of any length through one fixed input shape.

    On CPU, TensorFlow's float32 results are bit-identical for every shape from 7 to 64 examples.

    Keras's own call is as fast as a graph of one signature (benchmarks/model.py), and runs on every backend.

    Args:
      weights: as `checkpoint.read_weights` returns.
      batch_size: examples a call of the network, at first: halved whenever so many do not fit into memory.
      precision: what the network computes in, one of `precision.PRECISIONS`; embeddings are float32 always.

    Raises:
      OutOfMemoryError: not even one example fits beside the network.
    """

    def __init__(self, weights: Weights, batch_size: int = 64, precision: str = FLOAT32):
        self._batches = FixedBatches(batch_size)
        self._model = build_vggish(weights, precision)
        self._precision = precision
        # TensorFlow gains nothing from XLA here and would give other bits; JAX is XLA.
        self._model.compile(optimizer=None, jit_compile=keras.backend.backend() == "jax")
        self.embed(np.zeros((1, EXAMPLE_FRAMES, MEL_BANDS), np.float32))  # trace now, not later

    def embed(self, examples: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, 96, 64] log-mel examples -> float32[n, 128] embeddings, n from 0.

        Raises:
          OutOfMemoryError: not even one example fits beside the network.
        """
        (embeddings,) = self._batches.run(self._predict, examples)
        return embeddings

    def _predict(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with exact_products(self._precision):
            return [self._model.predict_on_batch(batch)]

    def embed_clips(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32] | None]:
        """Embeds clips of float32[n, 96, 64] together, filling batches across them.

        Returns:
          Of each clip float32[n, 128]; None where a value is NaN or infinite.
        """
        ends = np.cumsum([len(clip) for clip in clips])
        embedded = np.split(self.embed(np.concatenate(clips)), ends[:-1])
        return [embeddings if np.isfinite(embeddings).all() else None for embeddings in embedded]
