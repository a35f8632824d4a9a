"""Computes features from PCM in one graph on the accelerator: front end, network, PCA and quantization."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.frameworks import keras
from transforms.vggish.batches import FixedBatches, Predict
from transforms.vggish.checkpoint import Weights
from transforms.vggish.log_mel_layer import FrontEnd, LogMel, add_constant
from transforms.vggish.model import build_vggish
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import PcaParams
from transforms.vggish.precision import FLOAT32, exact_products

# Parts of a batch that are copied to the device concurrently: enough to use the full bandwidth of the bus.
_NUM_PARTS = 8

ops = keras.ops


class Windows(Protocol):
    """A clip's PCM: int16 or float32[n, window_samples], and the sample rate."""

    @property
    def samples(self) -> NDArray: ...
    @property
    def rate_hz(self) -> int: ...


class Quantize(keras.layers.Layer):
    """float32[n, 128] embeddings -> uint8[n, 128], as `postprocess.postprocess`, in float32."""

    def __init__(self, pca: PcaParams | None, **options: Any):
        super().__init__(dtype="float32", autocast=False, trainable=False, **options)
        if pca is None:
            pca = PcaParams(np.eye(EMBEDDING_SIZE), np.zeros((EMBEDDING_SIZE, 1)))
        self._means = add_constant(self, "means", pca.means[:, 0])
        self._components = add_constant(self, "components", pca.eigen_vectors.T)
        self._quantization = pca.quantization
        self.built = True

    def call(self, embeddings: Any) -> Any:
        with exact_products():
            values = ops.matmul(embeddings - self._means, self._components)
        low, high = self._quantization.low, self._quantization.high
        codes = (ops.clip(values, low, high) - low) / (high - low) * 255.0
        # Rounding in float32 may map the upper end of a fitted range to slightly less than 255.
        return ops.cast(ops.where(values >= high, 255.0, codes), "uint8")


def build_fused(
    front_end: FrontEnd, vggish: keras.Model, quantize: Quantize | None, dtype: str = "int16"
) -> keras.Model:
    """Build the graph from windows of one sample rate to features.

    Args:
      front_end: of the sample rate.
      vggish: the network, as `model.build_vggish` returns; several graphs may share one.
      quantize: the last step; None skips it.
      dtype: of the windows, int16 or float32.

    Returns:
      A model from [n, window_samples] to two tensors. The first is uint8[n, 128] features, or float32[n, 128]
      embeddings without `quantize`. The second is bool[n]: whether each embedding is finite, which the
      quantized features do not show.
    """
    windows = keras.Input((front_end.window_samples,), dtype=dtype, name="windows")
    embeddings = vggish(LogMel(front_end, name="log_mel")(windows))
    features = embeddings if quantize is None else quantize(embeddings)
    finite = ops.all(ops.isfinite(embeddings), axis=-1)
    return keras.Model(windows, [features, finite], name="fused")


def compile_forward(model: keras.Model, precision: str = FLOAT32) -> Predict:
    """Compile the forward pass of a model with a network of this precision.

    The returned function does not wait for the results.
    """
    backend = keras.backend.backend()
    forward: Predict
    if backend == "jax":
        import jax

        stateless = jax.jit(lambda *state: model.stateless_call(*state, training=False)[0])
        trainable = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        forward = functools.partial(stateless, trainable, others)
    elif backend == "tensorflow":
        import tensorflow as tf

        # AutoGraph would leave a file with the function's source in the temporary folder.
        forward = tf.function(lambda windows: model(windows, training=False), autograph=False)
    else:
        import torch

        forward = torch.inference_mode()(lambda windows: model(windows, training=False))

    def predict(windows: Any) -> Any:
        with exact_products(precision):
            return forward(windows)

    return predict


def copy_to_device(batch: NDArray) -> Any:
    """Start to copy a batch to the accelerator; with backends other than JAX, return the batch itself.

    JAX copies the parts concurrently. A single array, or an argument of a graph, took four times as long on
    an H200: 6 GB/s instead of 25.
    """
    if keras.backend.backend() != "jax":
        return batch
    import jax

    num_parts = 1 if jax.default_backend() == "cpu" else min(_NUM_PARTS, len(batch))
    return _copy_parts(batch, num_parts)


def _copy_parts(batch: NDArray, num_parts: int) -> Any:
    import jax

    parts = jax.device_put(np.array_split(batch, num_parts))
    return parts[0] if num_parts == 1 else jax.numpy.concatenate(parts)


class FusedEmbedder:
    """Embeds clips from PCM, with one compiled graph per sample rate and dtype, built on first use.

    Args:
      weights: as `checkpoint.read_weights` returns.
      front_end: sample rate in Hz -> its front end.
      quantize: whether to return quantized features instead of embeddings.
      pca: PCA before quantization; None skips it.
      batch_size: initial number of examples per batch; halved whenever a batch does not fit into memory.
      precision: dtype of the network, one of `precision.PRECISIONS`; the other steps are float32.

    Its constructor and methods raise OutOfMemoryError if memory is too small for the network and one example.
    """

    def __init__(
        self,
        weights: Weights,
        front_end: Callable[[int], FrontEnd],
        quantize: bool = True,
        pca: PcaParams | None = None,
        batch_size: int = 64,
        precision: str = FLOAT32,
    ):
        self._batches = FixedBatches(batch_size, copy_to_device)
        self._front_end = front_end
        self._vggish = build_vggish(weights, precision)
        self._precision = precision
        self._quantize = Quantize(pca, name="quantize") if quantize else None
        self._graphs: dict[tuple[int, np.dtype], Predict] = {}

    def embed(self, windows: NDArray, rate_hz: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Embed windows, [n, window_samples], of one sample rate.

        Returns:
          uint8[n, 128] features or float32[n, 128] embeddings; and bool[n], whether each embedding is finite.
        """
        key = rate_hz, windows.dtype
        if key not in self._graphs:
            model = build_fused(self._front_end(rate_hz), self._vggish, self._quantize, windows.dtype.name)
            self._graphs[key] = compile_forward(model, self._precision)
        features, finite = self._batches.run(self._graphs[key], windows)
        return features, finite

    def embed_clips(self, clips: Sequence[Windows]) -> list[NDArray | None]:
        """Embed clips together; batches may contain several clips of the same rate and dtype.

        Returns:
          The result of `embed` for each clip; None if an embedding is NaN or infinite.
        """
        embedded: list[NDArray | None] = [None] * len(clips)
        kinds = [(clip.rate_hz, clip.samples.dtype) for clip in clips]
        for kind in dict.fromkeys(kinds):
            indices = [index for index, clip_kind in enumerate(kinds) if clip_kind == kind]
            windows = [clips[index].samples for index in indices]
            ends = np.cumsum([len(clip_windows) for clip_windows in windows])[:-1]
            features, finite = self.embed(np.concatenate(windows), kind[0])
            parts = zip(indices, np.split(features, ends), np.split(finite, ends), strict=True)
            for index, clip_features, is_finite in parts:
                embedded[index] = clip_features if is_finite.all() else None
        return embedded
