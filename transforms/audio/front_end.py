"""The steps from decoded blocks to examples, in their order, as one stream."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.log_mel import example_blocks, log_mel_blocks
from transforms.audio.resample import RESAMPY, Resampler, resample_blocks
from transforms.errors import ClipError, Reason
from transforms.vggish.params import Framing


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
      ClipError: it is too short for one example, or its samples are far beyond any full scale (1e35).
    """
    num_samples, num_examples = 0, 0

    def counted() -> Iterator[NDArray[np.floating]]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    frames = log_mel_blocks(resample_blocks(counted(), rate_hz, resampler))
    for examples in example_blocks(_finite(frames), framing):
        num_examples += len(examples)
        yield examples
    if not num_examples:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{num_samples / rate_hz:.3f} s of audio; one example takes {framing.min_s} s",
        )


def _finite(frames: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    source = iter(frames)
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            block = next(source, None)
        if block is None:
            return
        if not np.isfinite(block).all():
            raise ClipError(Reason.NOT_FINITE, "samples too large for float32 features")
        yield block
