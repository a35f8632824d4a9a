"""The names of the resamplers, without the code that needs NumPy."""

from typing import Final, Literal

Resampler = Literal["resampy", "soxr"]
RESAMPY: Final = "resampy"
SOXR: Final = "soxr"
