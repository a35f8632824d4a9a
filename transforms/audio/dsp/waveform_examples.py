"""Compute log-mel examples of decoded blocks, as one stream of steps."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.log_mel import example_blocks, log_mel_blocks
from transforms.audio.dsp.resample import resample_blocks
from transforms.audio.resamplers import RESAMPY, Resampler
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing

# Up to this value, no sum of samples for a feature comes near float32's maximum, 3.4e38.
MAX_SAMPLE = 1e33


def waveform_examples(
    blocks: Iterable[NDArray[np.floating]],
    rate_hz: int,
    framing: Framing = Framing(),
    resampler: Resampler = RESAMPY,
) -> Iterator[NDArray[np.float32]]:
    """Resample a mono waveform to 16 kHz and compute its log-mel examples, in bounded memory.

    Args:
      blocks: the waveform, [samples] each, of any lengths, full scale 1.0. Their boundaries do not change the
        bits of the result.
      rate_hz: its sample rate.
      framing: window and hop of an example.
      resampler: as `resample_blocks` takes it.

    Yields:
      float32[n, 96, 64] with n >= 1, at least once.

    Raises:
      ClipError: it is too short for one example, or a sample exceeds 1e33, far above any full scale.
    """
    waveform, num_examples = CheckedWaveform(blocks), 0
    frames = log_mel_blocks(resample_blocks(waveform, rate_hz, resampler))
    for examples in example_blocks(frames, framing):
        num_examples += len(examples)
        yield examples
    if not num_examples:
        raise too_short_error(waveform.num_samples, rate_hz, framing)


class CheckedWaveform:
    """Yields the given blocks unchanged, once, and counts their samples.

    Attributes:
      num_samples: samples that were yielded so far.

    Raises, during the iteration:
      ClipError: a sample's magnitude exceeds 1e33, or it is NaN.
    """

    def __init__(self, blocks: Iterable[NDArray[np.floating]]):
        self.num_samples = 0
        self._blocks = blocks

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        for block in self._blocks:
            self.num_samples += len(block)
            if len(block) and not (block.max() <= MAX_SAMPLE and block.min() >= -MAX_SAMPLE):
                raise ClipError(Reason.NOT_FINITE, "samples too large for float32 features")
            yield block


def too_short_error(num_samples: int, rate_hz: int, framing: Framing) -> ClipError:
    """Return the rejection of a waveform that is too short for one example."""
    message = f"{num_samples / rate_hz:.3f} s of audio; one example takes {framing.min_s} s"
    return ClipError(Reason.TOO_SHORT, message)
