"""Move a window over a waveform that arrives in blocks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class SlidingWindow:
    """Collects blocks of any lengths and moves a window over them in steps, in the same memory.

    Args:
      num_samples: samples in the window.
      step: samples from one position of the window to the next, at most `num_samples`.
      num_zeros: zeros to put before the waveform.

    Attributes:
      samples: float64[num_samples]; the first `filled` of them are filled.
    """

    def __init__(self, num_samples: int, step: int, num_zeros: int = 0):
        self.samples: NDArray[np.float64] = np.zeros(num_samples)
        self.filled = num_zeros
        self._step = step

    def push(self, block: NDArray[np.floating]) -> Iterator[NDArray[np.float64]]:
        """Take a block; each time `samples` is full, yield it and then move on."""
        while len(block):
            part = block[: len(self.samples) - self.filled]
            self.samples[self.filled : self.filled + len(part)] = part
            self.filled += len(part)
            block = block[len(part) :]
            if self.filled == len(self.samples):
                yield self.samples
                self.move()

    def move(self) -> None:
        """Drop the oldest `step` samples."""
        self.filled = max(self.filled - self._step, 0)
        self.samples[: self.filled] = self.samples[self._step : self._step + self.filled]
