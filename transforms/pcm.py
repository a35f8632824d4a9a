"""Windows of PCM on their way to a front end on the accelerator."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.audio.dsp.log_mel import hann_window, mel_matrix
from transforms.audio.dsp.polyphase import row_taps
from transforms.audio.dsp.resample import RESAMPY, Resampler
from transforms.audio.dsp.windows import waveform_windows, window_rate_hz, window_samples
from transforms.audio.extraction import Extraction
from transforms.vggish.params import SAMPLE_RATE_HZ, Framing

if TYPE_CHECKING:
    from transforms.vggish.log_mel_layer import FrontEnd


@dataclass(frozen=True, eq=False)
class PcmWindows:
    """Windows of a waveform, one an example.

    Attributes:
      samples: [n, window_samples], int16 or float32, as `waveform_windows` gives.
      rate_hz: their sample rate.
    """

    samples: np.ndarray
    rate_hz: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def nbytes(self) -> int:
        return self.samples.nbytes


def joined(parts: Sequence[Any]) -> Any:
    """Arrays, or PcmWindows, of a clip in one."""
    if isinstance(parts[0], PcmWindows):
        return PcmWindows(np.concatenate([part.samples for part in parts]), parts[0].rate_hz)
    return np.concatenate(parts)


def pcm_windows(
    blocks: Iterable[np.ndarray],
    rate_hz: int,
    framing: Framing = Framing(),
    resampler: Resampler = RESAMPY,
) -> Iterator[PcmWindows]:
    """`waveform_windows` with their rate; takes and raises what it does."""
    own_hz = window_rate_hz(rate_hz, framing, resampler)
    for samples in waveform_windows(blocks, rate_hz, framing, resampler):
        yield PcmWindows(samples, own_hz)


def as_examples(array: np.ndarray, rate_hz: int, extraction: Extraction) -> np.ndarray | PcmWindows:
    """What an extraction made of a waveform at `rate_hz`, as the model takes it."""
    if not extraction.windows:
        return array
    return PcmWindows(array, window_rate_hz(rate_hz, extraction.framing, extraction.resampler))


def device_front_end(rate_hz: int) -> "FrontEnd":
    """What makes log-mel examples of windows at `rate_hz` on the accelerator."""
    from transforms.vggish.log_mel_layer import FrontEnd  # seconds of Keras, where a model is only

    taps = None if rate_hz == SAMPLE_RATE_HZ else row_taps(rate_hz)
    return FrontEnd(window_samples(rate_hz), taps, hann_window(), mel_matrix())
