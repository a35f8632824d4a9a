"""What a check of a file's structure hands to the decoder: stretches that are decoded one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.audio.parsers.spliced_file import ClipChunk


@dataclass(frozen=True)
class Link:
    """A stretch of a file that one decoder reads from front to back; most files are one.

    Attributes:
      pieces: what the decoder is to find in place of the file; None for the file as it is.
      num_frames: samples per channel that the stretch promises and no more than which are taken; None for
        what the decoder says at its start.
      is_length_hidden: the decoder must not see how long the file is, since it would guess the number of
        samples from that, and stop there.
      is_end_checked: whether it is a fault if the decoder has more than `num_frames`.
    """

    pieces: Sequence[ClipChunk] | None = None
    num_frames: int | None = None
    is_length_hidden: bool = False
    is_end_checked: bool = False
