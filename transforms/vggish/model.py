"""The VGGish network in Keras 3, on any Keras backend (TensorFlow, JAX or PyTorch)."""

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

# Alignment of a tensor's first byte: Eigen's EIGEN_MAX_ALIGN_BYTES in TensorFlow's build.
_ALIGNMENT_BYTES = 64


def build_vggish(weights: Weights | None = None, dtype: str = FLOAT32) -> keras.Model:
    """Build the network from a log-mel example to its embedding.

    Args:
      weights: as `checkpoint.read_weights` returns; None keeps Keras's initial values.
      dtype: of every layer's computation and weights, one of `precision.PRECISIONS`. Layers of bfloat16 with
        float32 weights would give the same bits, but cast the weights at each call.

    Returns:
      A model from float32[n, 96, 64] to float32[n, 128], for any `dtype`. The last dense layer has no ReLU:
      the released AudioSet features were made without one (tensorflow/models pull request 9080).
    """
    if dtype == FLOAT16:
        _disable_fused_kernels()
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
        if layer.weights:  # the initializers have been used, and functions cannot be saved with the model
            layer.kernel_initializer = keras.initializers.get("glorot_uniform")
            layer.bias_initializer = keras.initializers.get("zeros")
    return model


def enable_memory_growth() -> None:
    """Make TensorFlow and JAX allocate GPU memory as needed, instead of all of it at the start.

    PyTorch does so by default. Call it before any computation; later it has no effect.
    """
    if keras.backend.backend() == "jax":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for card in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # the GPU is already initialized
            tf.config.experimental.set_memory_growth(card, True)


def _disable_fused_kernels() -> None:
    """Prevent TensorFlow from fusing convolution, bias and ReLU on CPU.

    oneDNN's fused kernels have no fast float16: four examples take seconds instead of 0.04 s. The setting
    applies to the whole process. It does not change the bits of other precisions.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"remapping": False})


def _layer_options(scope: str, weights: Weights | None, dtype: str) -> dict[str, Any]:
    """Return name, dtype and initializers of a layer. Initializers read the weights without a second copy."""
    options: dict[str, Any] = {"name": scope.rsplit("/", 1)[-1], "dtype": dtype}
    if weights is None:
        return options

    def initial(name: str) -> Callable:
        return lambda shape, dtype=None: keras.ops.cast(_tensor(weights[name]), dtype)

    kernel, bias = initial(f"{scope}/weights"), initial(f"{scope}/biases")
    return options | {"kernel_initializer": kernel, "bias_initializer": bias}


def _tensor(values: NDArray[np.float32]) -> Any:
    """Convert values to a tensor of the backend.

    TensorFlow's own conversion takes twice their memory in addition, 0.4 GB for the largest layer. DLPack
    shares the memory, if the values are aligned as TensorFlow's kernels require.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_tensor(values)
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(_aligned(values).__dlpack__())


def _aligned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.ctypes.data % _ALIGNMENT_BYTES == 0 and values.flags.c_contiguous and values.flags.writeable:
        return values
    buffer = np.empty(values.nbytes + _ALIGNMENT_BYTES, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT_BYTES
    aligned = buffer[start : start + values.nbytes].view(np.float32).reshape(values.shape)
    aligned[...] = values
    return aligned


def export_keras_weights(weights: Weights, path: str) -> None:
    """Write weights as Keras's `.weights.h5`, which can be read without TensorFlow.

    Args:
      weights: as `checkpoint.read_weights` returns.
      path: of the file; must end with `.weights.h5`.

    Raises:
      ValueError: the path has another ending.
    """
    build_vggish(weights).save_weights(path)


class Embedder:
    """Embeds clips of any length in batches of one fixed shape.

    On CPU, TensorFlow's float32 results are bit-identical for every batch size from 7 to 64.

    It calls the Keras model directly, which works on every backend and is as fast as a graph with one
    signature (docs/performance.md).

    Args:
      weights: as `checkpoint.read_weights` returns.
      batch_size: initial number of examples per batch; halved whenever a batch does not fit into memory.
      precision: dtype of the network, one of `precision.PRECISIONS`; embeddings are always float32.

    Its constructor and methods raise OutOfMemoryError if memory is too small for the network and one example.
    """

    def __init__(self, weights: Weights, batch_size: int = 64, precision: str = FLOAT32):
        self._batches = FixedBatches(batch_size)
        self._model = build_vggish(weights, precision)
        self._precision = precision
        # XLA does not make TensorFlow faster here, and would change the bits. JAX always uses XLA.
        self._model.compile(optimizer=None, jit_compile=keras.backend.backend() == "jax")

    def embed(self, examples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed float32[n, 96, 64] log-mel examples as float32[n, 128], n >= 0."""
        (embeddings,) = self._batches.run(self._predict, examples)
        return embeddings

    def _predict(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with exact_products(self._precision):
            return [self._model.predict_on_batch(batch)]

    def embed_clips(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32] | None]:
        """Embed clips of float32[n, 96, 64] together; batches may contain several clips.

        Returns:
          float32[n, 128] for each clip; None if a value is NaN or infinite.
        """
        ends = np.cumsum([len(clip) for clip in clips])
        embedded = np.split(self.embed(np.concatenate(clips)), ends[:-1])
        return [embeddings if np.isfinite(embeddings).all() else None for embeddings in embedded]
