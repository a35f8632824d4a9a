"""Runs arrays of any length in batches of one fixed shape, which is halved if the memory runs out."""

import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import OutOfMemoryError
from transforms.frameworks import keras

_LOG = logging.getLogger(__name__)
# Parts of the names and messages of out-of-memory errors: TensorFlow's ResourceExhaustedError ("OOM when
# allocating"), JAX's RESOURCE_EXHAUSTED, PyTorch's OutOfMemoryError ("out of memory"), oneDNN's and C++'s.
_OUT_OF_MEMORY = re.compile("resource_?exhausted|out ?of ?memory|oom when|bad_alloc", re.IGNORECASE)
_SHOWN_ERROR = 300

# A padded batch, or what `place` made of it -> the backend's tensors, each with one row per example.
Predict = Callable[[Any], Sequence[Any]]


class FixedBatches:
    """Runs batches of one shape.

    With one shape there is one traced graph, and an example's result does not depend on its batch.

    Args:
      size: initial number of examples per batch; halved whenever a batch does not fit into memory.
      place: prepares a padded batch before its turn, for example copies it to the device.
    """

    def __init__(self, size: int, place: Callable[[NDArray], Any] = lambda batch: batch):
        self._size = size
        self._place = place
        # Keras does not guarantee that a model can predict in several threads.
        self._lock = threading.Lock()

    def run(self, predict: Predict, inputs: NDArray) -> list[NDArray]:
        """Apply `predict` to [n, ...], n >= 0, in batches padded with zeros.

        Returns:
          The results of `predict` as arrays [n, ...].

        Raises:
          OutOfMemoryError: not even one example fits.
        """
        done: list[list[NDArray]] = []
        start = 0
        while start < len(inputs) or not done:
            size = self._size
            try:
                starts = range(start, max(len(inputs), 1), size)
                # Start all batches before waiting for results: an accelerator can then receive a batch while
                # it computes the previous one.
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
        """Halve a batch size that did not fit, unless another thread has already done so."""
        with self._lock:
            if self._size < size:
                return
            if size == 1:
                raise OutOfMemoryError(
                    "the model does not fit into memory, even with batches of one example; free memory, "
                    f"or run fewer workers on this machine ({' '.join(str(error).split())[:_SHOWN_ERROR]})"
                ) from error
            self._size = size // 2
            _LOG.warning("out of memory with %d examples per batch: continuing with %d", size, size // 2)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether a backend's error is out of memory. The backends have no common error type for it."""
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(text))
