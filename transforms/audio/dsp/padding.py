"""Lengthen a waveform that is shorter than one example."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from transforms.audio.paddings import REPEAT, Padding
from transforms.vggish.params import SAMPLE_RATE_HZ, Framing


def pad_short(
    blocks: Iterable[NDArray[np.floating]], rate_hz: int, framing: Framing, padding: Padding | None
) -> Iterator[NDArray[np.floating]]:
    """Lengthen a mono waveform to one example if it is shorter, and leave it unchanged otherwise.

    Args:
      blocks: the waveform, [samples] each, of any lengths.
      rate_hz: its sample rate.
      framing: window and hop of an example.
      padding: "zeros": silence follows; "repeat": the waveform is repeated, and its last repetition cut;
        None: leave it as it is.

    Yields:
      [samples] each, at least `framing.min_s` seconds in all, unless there is no sample or no padding.
    """
    if padding is None:
        yield from blocks
        return
    wanted = -(-framing.min_samples * rate_hz // SAMPLE_RATE_HZ)
    short: list[NDArray[np.floating]] = []  # the whole waveform so far, while it is too short
    num_samples = 0
    for block in blocks:
        yield block
        num_samples += len(block)
        short = [*short, block] if num_samples < wanted else []
    if short and num_samples:
        whole = np.concatenate(short)
        padded = np.resize(whole, wanted) if padding == REPEAT else np.pad(whole, (0, wanted - num_samples))
        yield padded[num_samples:]
