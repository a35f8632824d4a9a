"""The names of the ways to lengthen a short waveform, without the code that needs NumPy."""

from typing import Final, Literal

Padding = Literal["zeros", "repeat"]
ZEROS: Final = "zeros"
REPEAT: Final = "repeat"
