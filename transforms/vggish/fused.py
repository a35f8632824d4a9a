"""PCM to the release's bytes in one graph on the accelerator: front end, network, PCA, quantization."""

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

ops = keras.ops

# Of a batch, copied to the device at a time: as many as made full use of the bus.
_PARTS = 8


class Windows(Protocol):
    """A clip's PCM: int16 or float32[n, window_samples] at a rate."""

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
        # In float32 the upper end of a fitted range may come out as a little less than 255.
        return ops.cast(ops.where(values >= high, 255.0, codes), "uint8")


def build_fused(
    front_end: FrontEnd, vggish: keras.Model, quantize: Quantize | None, dtype: str = "int16"
) -> keras.Model:
    """The graph from a rate's windows to features.

    Args:
      front_end: of the rate.
      vggish: the network, as `model.build_vggish`; several graphs may share one.
      quantize: the last step; None leaves it out.
      dtype: of the windows, int16 or float32.

    Returns:
      A model from [n, window_samples] to two tensors: uint8[n, 128], or without `quantize` float32[n, 128]
      embeddings; and bool[n], whether the embedding is finite, since of its bytes nobody could tell.
    """
    windows = keras.Input((front_end.window_samples,), dtype=dtype, name="windows")
    embeddings = vggish(LogMel(front_end, name="log_mel")(windows))
    features = embeddings if quantize is None else quantize(embeddings)
    finite = ops.all(ops.isfinite(embeddings), axis=-1)
    return keras.Model(windows, [features, finite], name="fused")


def compiled(model: keras.Model, precision: str = FLOAT32) -> Predict:
    """A model's forward pass as the backend compiles it; it does not wait for its results.

    Args:
      model: what to compile.
      precision: of the network in it.
    """
    forward = _forward(model)

    def predict(windows: Any) -> Any:
        with exact_products(precision):
            return forward(windows)

    return predict


def on_device(batch: NDArray) -> Any:
    """Start to copy a batch to the accelerator; with other backends than JAX return the batch itself.

    JAX copies the parts at the same time. One array, or one argument of a graph, took four times as long on
    an H200: 6 GB/s in place of 25.
    """
    if keras.backend.backend() != "jax":
        return batch
    import jax

    num_parts = 1 if jax.default_backend() == "cpu" else min(_PARTS, len(batch))
    return _joined_on_device(batch, num_parts)


def _joined_on_device(batch: NDArray, num_parts: int) -> Any:
    import jax

    parts = jax.device_put(np.array_split(batch, num_parts))
    return parts[0] if num_parts == 1 else jax.numpy.concatenate(parts)


def _forward(model: keras.Model) -> Predict:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        stateless = jax.jit(lambda *state: model.stateless_call(*state, training=False)[0])
        trainable = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        return lambda windows: stateless(trainable, others, windows)
    if backend == "tensorflow":
        import tensorflow as tf

        # AutoGraph would leave the function's source behind in the temporary folder.
        return tf.function(lambda windows: model(windows, training=False), autograph=False)
    import torch

    def without_gradients(windows: NDArray) -> Any:
        with torch.inference_mode():
            return model(windows, training=False)

    return without_gradients


class FusedEmbedder:
    """Embeds clips from their PCM, with one compiled graph a sample rate and dtype, made when first needed.

    Args:
      weights: as `checkpoint.read_weights` returns.
      front_end: gives the front end of a sample rate in Hz.
      quantize: whether to give the release's bytes, or else embeddings.
      pca: PCA before quantization; None leaves it out.
      batch_size: examples a call of a graph, at first: halved whenever so many do not fit into memory.
      precision: what the network computes in, one of `precision.PRECISIONS`; all else is float32.

    Raises:
      OutOfMemoryError: not even one example fits beside the network.
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
        self._batches = FixedBatches(batch_size, on_device)
        self._front_end = front_end
        self._vggish = build_vggish(weights, precision)
        self._precision = precision
        self._quantize = Quantize(pca, name="quantize") if quantize else None
        self._graphs: dict[tuple[int, np.dtype], Predict] = {}

    def embed(self, windows: NDArray, rate_hz: int) -> tuple[NDArray, NDArray[np.bool_]]:
        """Embeds windows, [n, window_samples], of one rate.

        Returns:
          uint8[n, 128], or float32[n, 128] embeddings; and which embeddings are finite, bool[n].

        Raises:
          OutOfMemoryError: not even one example fits beside the network.
        """
        key = rate_hz, windows.dtype
        if key not in self._graphs:
            model = build_fused(self._front_end(rate_hz), self._vggish, self._quantize, windows.dtype.name)
            self._graphs[key] = compiled(model, self._precision)
        features, finite = self._batches.run(self._graphs[key], windows)
        return features, finite

    def embed_clips(self, clips: Sequence[Windows]) -> list[NDArray | None]:
        """Embeds clips together, filling batches across those of one rate and dtype.

        Returns:
          Of each clip what `embed` gives; None where an embedding is NaN or infinite.
        """
        embedded: list[NDArray | None] = [None] * len(clips)
        kinds = [(clip.rate_hz, clip.samples.dtype) for clip in clips]
        for kind in dict.fromkeys(kinds):
            numbers = [number for number, own in enumerate(kinds) if own == kind]
            windows = [clips[number].samples for number in numbers]
            ends = np.cumsum([len(own) for own in windows])[:-1]
            features, finite = self.embed(np.concatenate(windows), kind[0])
            parts = zip(np.split(features, ends), np.split(finite, ends), strict=True)
            for number, (own, good) in zip(numbers, parts, strict=True):
                embedded[number] = own if good.all() else None
        return embedded
