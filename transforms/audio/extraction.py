"""How examples are made of a waveform, as one value that goes to wherever they are made."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.polyphase import has_polyphase
from transforms.audio.dsp.resample import RESAMPY, Resampler
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.dsp.windows import waveform_windows, window_rate_hz, window_samples
from transforms.vggish.params import MEL_BANDS, SAMPLE_RATE_HZ, Framing

# Examples per array: 3 MB of log-mel, and enough to fill the network's batches. No byte depends on it.
MAX_EXAMPLES = 128
# Windows are ten times as large and more, and then fewer go together.
MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class Extraction:
    """How examples are made of a waveform.

    Attributes:
      framing: window and hop of an example.
      resampler: as `resample_blocks` takes it.
      windows: PCM for a front end on an accelerator, in place of log-mel.
    """

    framing: Framing = Framing()
    resampler: Resampler = RESAMPY
    windows: bool = False

    def examples(self, blocks: Iterable[NDArray[np.floating]], rate_hz: int) -> Iterator[NDArray]:
        """Examples of a mono waveform, in bounded memory.

        Args:
          blocks: the waveform, [samples] each, full scale 1.0; where they end makes no difference to a bit.
          rate_hz: its sample rate.

        Yields:
          `max_examples` each, and in the last from 1 on: float32[n, 96, 64], or with `windows` int16 or
          float32[n, window_samples], as `waveform_windows`.

        Raises:
          ClipError: as `waveform_examples`.
        """
        most = self.max_examples(rate_hz)
        if self.windows:
            return waveform_windows(blocks, rate_hz, self.framing, self.resampler, most)
        return _regrouped(waveform_examples(blocks, rate_hz, self.framing, self.resampler), most)

    def max_examples(self, rate_hz: int) -> int:
        """Examples per array, for a waveform at this rate."""
        if self.windows:
            samples = window_samples(window_rate_hz(rate_hz, self.framing, self.resampler))
        else:
            samples = self.framing.window_frames * MEL_BANDS
        return max(1, min(MAX_EXAMPLES, MAX_BYTES // (samples * np.dtype(np.float32).itemsize)))

    def needs_compiler(self, rate_hz: int) -> bool:
        """Whether resampy's own loop resamples, which is compiled first: seconds and 0.1 GB per process."""
        return self.resampler == RESAMPY and rate_hz != SAMPLE_RATE_HZ and not has_polyphase(rate_hz)

    def to_json(self) -> dict[str, Any]:
        """A value that JSON holds exactly, for `from_json`."""
        return {**vars(self), "framing": vars(self.framing)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Extraction":
        return cls(**{**value, "framing": Framing(**value["framing"])})


def _regrouped(arrays: Iterable[NDArray], most: int) -> Iterator[NDArray]:
    """The same rows, `most` in each array but the last."""
    kept: list[NDArray] = []
    num_kept = 0
    for array in arrays:
        while num_kept + len(array) > most:
            yield np.concatenate([*kept, array[: most - num_kept]])
            array, kept, num_kept = array[most - num_kept :], [], 0
        kept.append(array)
        num_kept += len(array)
    if kept:
        yield kept[0] if len(kept) == 1 else np.concatenate(kept)
