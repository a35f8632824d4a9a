"""The result of checking a file's structure: the parts that the decoder reads one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from transforms.audio.parsers.spliced_file import Piece


@dataclass(frozen=True)
class Link:
    """A part of a file that one decoder reads from front to back.

    "Link" is the Ogg term for one stream of a chained file. Most files are a single link.

    Attributes:
      pieces: what the decoder reads instead of the file; None for the file as it is.
      num_frames: samples per channel to decode, as the file states; None if the decoder reports the number.
      is_length_hidden: whether to hide the file's length from the decoder, which would estimate the number of
        samples from it and stop there.
      is_end_checked: whether it is an error if the decoder has more than `num_frames`.
    """

    pieces: Sequence[Piece] | None = None
    num_frames: int | None = None
    is_length_hidden: bool = False
    is_end_checked: bool = False
