"""Windows of PCM for the front end on the accelerator."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transforms.audio.dsp.log_mel import hann_window, mel_matrix
from transforms.audio.dsp.polyphase import row_taps
from transforms.audio.dsp.windows import waveform_windows, window_rate_hz, window_samples
from transforms.audio.extraction import Extraction

if TYPE_CHECKING:
    from transforms.vggish.log_mel_layer import FrontEnd


@dataclass(frozen=True, eq=False)
class PcmWindows:
    """Windows of a waveform, one per example.

    Attributes:
      samples: [n, window_samples], int16 or float32, as `waveform_windows` yields.
      rate_hz: their sample rate.
    """

    samples: np.ndarray
    rate_hz: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def nbytes(self) -> int:
        return self.samples.nbytes


def pcm_windows(blocks: Iterable[np.ndarray], rate_hz: int) -> PcmWindows:
    """Return all windows of a waveform in the release's framing; errors as `waveform_windows`."""
    return PcmWindows(np.concatenate(list(waveform_windows(blocks, rate_hz))), window_rate_hz(rate_hz))


def as_examples(array: np.ndarray, rate_hz: int, extraction: Extraction) -> np.ndarray | PcmWindows:
    """Convert the output of an extraction from a waveform at `rate_hz` to the model's input."""
    if not extraction.windows:
        return array
    return PcmWindows(array, window_rate_hz(rate_hz, extraction.framing, extraction.resampler))


def device_front_end(rate_hz: int) -> "FrontEnd":
    """Return the parameters of the accelerator's front end for windows at `rate_hz`."""
    # Importing Keras takes seconds, so only processes with a model do it.
    from transforms.vggish.log_mel_layer import FrontEnd

    return FrontEnd(window_samples(rate_hz), row_taps(rate_hz), hann_window(), mel_matrix())
