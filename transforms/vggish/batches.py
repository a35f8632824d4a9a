"""Arrays of any length through a function of one fixed batch shape, halved where memory is short."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import OutOfMemoryError
from transforms.frameworks import keras

_LOG = logging.getLogger(__name__)
# In the name or message of a backend's error: TensorFlow's ResourceExhaustedError ("OOM when allocating"),
# JAX's RESOURCE_EXHAUSTED, PyTorch's OutOfMemoryError ("out of memory"), oneDNN's and C++'s own.
_OUT_OF_MEMORY = (
    "resourceexhausted",
    "resource_exhausted",
    "out of memory",
    "outofmemory",
    "oom when",
    "bad_alloc",
)
_SHOWN_ERROR = 300

# A batch, padded, or what it was made -> the backend's tensors, one row an example each.
Predict = Callable[[Any], Sequence[Any]]


class FixedBatches:
    """Runs batches of one shape, so that there is one traced graph, and the same bits for an example wherever
    it stands.

    Args:
      size: examples a batch, at first: halved whenever so many do not fit into memory.
      place: what is made of a padded batch before it is its turn, such as a copy on the device.
    """

    def __init__(self, size: int, place: Callable[[NDArray], Any] = lambda batch: batch):
        self._size = size
        self._place = place
        # Keras does not promise that one model may predict in several threads.
        self._lock = threading.Lock()

    def run(self, predict: Predict, inputs: NDArray) -> list[NDArray]:
        """Applies `predict` to [n, ...], n from 0, in batches padded with zeros.

        Returns:
          What it gives, as arrays [n, ...].

        Raises:
          OutOfMemoryError: not even one example fits.
        """
        done: list[list[NDArray]] = []
        start = 0
        while start < len(inputs) or not done:
            size = self._size
            try:
                starts = range(start, max(len(inputs), 1), size)
                # An accelerator takes in a batch while it works on the one before, if nobody waits for that.
                for tensors in [self._predict(predict, inputs[s : s + size], size) for s in starts]:
                    done.append([keras.ops.convert_to_numpy(tensor) for tensor in tensors])
                    start += size
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(size, error)
        return [np.concatenate(parts)[: len(inputs)] for parts in zip(*done, strict=True)]

    def _predict(self, predict: Predict, inputs: NDArray, size: int) -> Sequence[Any]:
        batch = inputs
        if len(inputs) < size:
            batch = np.zeros((size, *inputs.shape[1:]), inputs.dtype)
            batch[: len(inputs)] = inputs
        placed = self._place(batch)
        with self._lock:
            return predict(placed)

    def _halve(self, size: int, error: Exception) -> None:
        """Goes on with batches of half a size that did not fit, unless another thread did so already."""
        with self._lock:
            if self._size < size:
                return
            if size == 1:
                raise OutOfMemoryError(
                    "the model does not fit into memory, not even with batches of one example; free memory, "
                    f"or run fewer workers on this machine ({' '.join(str(error).split())[:_SHOWN_ERROR]})"
                ) from error
            self._size = size // 2
            _LOG.warning("out of memory with %d examples a batch: going on with %d", size, size // 2)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a backend says so: each has an error of its own, and TensorFlow and JAX one status for all."""
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
