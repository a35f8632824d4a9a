"""The steps from decoded blocks to examples, in their order, as one stream."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.log_mel import example_blocks, log_mel_blocks
from transforms.audio.dsp.resample import RESAMPY, Resampler, resample_blocks
from transforms.audio.dsp.sliding import SampleCounter
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing

# Up to here no sum of samples that a feature takes comes near to float32's end, 3.4e38.
MAX_SAMPLE = 1e33


def waveform_examples(
    blocks: Iterable[NDArray[np.floating]],
    rate_hz: int,
    framing: Framing = Framing(),
    resampler: Resampler = RESAMPY,
) -> Iterator[NDArray[np.float32]]:
    """Resamples a mono waveform to 16 kHz and computes its log-mel examples, in bounded memory.

    Args:
      blocks: the waveform, [samples] each, of any lengths, full scale 1.0; where they end makes
        no difference to a bit of the result.
      rate_hz: its sample rate.
      framing: window and hop of an example.
      resampler: as `resample_blocks` takes it.

    Yields:
      float32[n, 96, 64], n from 1, at least once.

    Raises:
      ClipError: it is too short for one example, or its samples are far beyond any full scale (1e33).
    """
    counted, num_examples = SampleCounter(blocks), 0
    frames = log_mel_blocks(resample_blocks(in_range(counted), rate_hz, resampler))
    for examples in example_blocks(frames, framing):
        num_examples += len(examples)
        yield examples
    if not num_examples:
        raise too_short(counted.num_samples, rate_hz, framing)


def in_range(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.floating]]:
    """The blocks as they are.

    Raises:
      ClipError: a sample is beyond 1e33, or NaN.
    """
    for block in blocks:
        if len(block) and not (block.max() <= MAX_SAMPLE and block.min() >= -MAX_SAMPLE):
            raise ClipError(Reason.NOT_FINITE, "samples too large for float32 features")
        yield block


def too_short(num_samples: int, rate_hz: int, framing: Framing) -> ClipError:
    """The rejection of a waveform that gives no example."""
    return ClipError(
        Reason.TOO_SHORT,
        f"{num_samples / rate_hz:.3f} s of audio; one example takes {framing.min_s} s",
    )
