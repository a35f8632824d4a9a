"""How to make examples of a waveform, as one value that can be sent to the process that makes them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.padding import pad_short
from transforms.audio.dsp.polyphase import has_polyphase
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.dsp.windows import waveform_windows, window_rate_hz, window_samples
from transforms.audio.paddings import Padding
from transforms.audio.resamplers import RESAMPY, Resampler
from transforms.vggish.params import MEL_BANDS, SAMPLE_RATE_HZ, Framing

# Examples per array: 3 MB of log-mel, enough to fill the network's batches. It does not change any byte.
MAX_EXAMPLES = 128
# Windows are at least ten times as large as log-mel examples, so fewer fit into an array.
MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class Extraction:
    """How to make examples of a waveform.

    Attributes:
      windows: whether to make PCM windows for a front end on an accelerator, instead of log-mel.
      padding: how to lengthen a waveform shorter than one example, as `pad_short` takes it; None: not at all.
    """

    framing: Framing = Framing()
    resampler: Resampler = RESAMPY
    windows: bool = False
    padding: Padding | None = None

    def examples(self, blocks: Iterable[NDArray[np.floating]], rate_hz: int) -> Iterator[NDArray]:
        """Make examples of a mono waveform, in bounded memory.

        Args:
          blocks, rate_hz: as for `waveform_examples`.

        Yields:
          `max_examples` each, and 1 or more in the last: float32[n, 96, 64], or with `windows` int16 or
          float32[n, window_samples], as `waveform_windows`.

        Raises:
          ClipError: as `waveform_examples`.
        """
        max_rows = self.max_examples(rate_hz)
        blocks = pad_short(blocks, rate_hz, self.framing, self.padding)
        if self.windows:
            return waveform_windows(blocks, rate_hz, self.framing, self.resampler, max_rows)
        return _regrouped(waveform_examples(blocks, rate_hz, self.framing, self.resampler), max_rows)

    def max_examples(self, rate_hz: int) -> int:
        """Return the maximum examples per array for a waveform at this rate."""
        if self.windows:
            samples = window_samples(window_rate_hz(rate_hz, self.framing, self.resampler))
        else:
            samples = self.framing.window_frames * MEL_BANDS
        return max(1, min(MAX_EXAMPLES, MAX_BYTES // (samples * np.dtype(np.float32).itemsize)))

    def needs_compiler(self, rate_hz: int) -> bool:
        """Return whether resampy's own loop resamples; compiling it takes seconds and 0.1 GB per process."""
        return self.resampler == RESAMPY and rate_hz != SAMPLE_RATE_HZ and not has_polyphase(rate_hz)

    def to_json(self) -> dict[str, Any]:
        """Return a value for `from_json` that JSON represents exactly."""
        return {**vars(self), "framing": vars(self.framing)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Extraction":
        return cls(**{**value, "framing": Framing(**value["framing"])})


def _regrouped(arrays: Iterable[NDArray], max_rows: int) -> Iterator[NDArray]:
    """Yield the same rows, `max_rows` in each array but the last."""
    kept: list[NDArray] = []
    num_kept = 0
    for array in arrays:
        while num_kept + len(array) > max_rows:
            yield np.concatenate([*kept, array[: max_rows - num_kept]])
            array, kept, num_kept = array[max_rows - num_kept :], [], 0
        kept.append(array)
        num_kept += len(array)
    if kept:
        yield kept[0] if len(kept) == 1 else np.concatenate(kept)
