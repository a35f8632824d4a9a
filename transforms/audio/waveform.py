"""Check and mix a waveform in memory in the same way as the decoders do with a file's samples."""

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decode import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, mix_to_mono
from transforms.errors import SettingError

# Floats that hold integers (int16 peaks at 32768, uint8 at 255) exceed this, except in near silence. Audio
# with full scale 1.0 never reaches it, since it is 30 dB above.
_MAX_FLOAT = 32.0
_INT32_FULL_SCALE = 2.0**31
_UINT8_MIDDLE = 128.0


def mono_waveform(audio: Any) -> NDArray[np.float64]:
    """Return the mean over channels, with full scale 1.0, equal to that of a file with the same samples.

    Args:
      audio: [samples] or [samples, channels] with 1 to 8 channels: a NumPy array, or what `numpy.asarray`
        makes one of (a list, a tensor in main memory). Floats of 16, 32 or 64 bits are kept. Integers are
        scaled as in a file of their type: int16 / 32768, int32 / 2^31, (uint8 - 128) / 128.

    Returns:
      float64[samples].

    Raises:
      SettingError: another shape or type, no samples, NaN or infinite samples, or floats beyond 32, which
        suggest integers that were not divided by their full scale.
    """
    try:
        array = np.asarray(audio)
    except Exception as error:  # a ragged list is a ValueError; a tensor's class may raise anything
        cause = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise SettingError(f"the waveform: not an array ({cause}); give a NumPy array") from error
    shape = f"the waveform: its shape is {array.shape}"
    if array.ndim not in (1, 2):
        raise SettingError(f"{shape}; give [samples] or [samples, channels], one clip per call")
    if not array.size:
        raise SettingError(f"{shape}, without a sample; give other audio")
    samples = array[:, np.newaxis] if array.ndim == 1 else array
    if samples.shape[1] > samples.shape[0]:
        remedy = "transpose it if its channels come first (waveform.T)"
        raise SettingError(f"{shape}, and [samples, channels] is expected; {remedy}")
    if samples.shape[1] > MAX_CHANNELS:
        remedy = f"give [samples, channels] with 1 to {MAX_CHANNELS} channels"
        raise SettingError(f"{shape}, with {samples.shape[1]} channels; {remedy}")
    mono = mix_to_mono(_block(samples)).astype(np.float64, copy=False)
    if not np.isfinite(mono).all():
        raise SettingError("the waveform: it has NaN or infinite samples; give other audio")
    return mono


def check_rate_hz(rate_hz: Any) -> int:
    """Return the sample rate of a waveform as an integer.

    Raises:
      SettingError: it is missing, not a whole number, or outside 4,000 to 192,000 Hz, the limits for files.
    """
    if rate_hz is None:
        raise SettingError(
            "the waveform: rate_hz is missing; give its sample rate, such as embed(waveform, rate_hz=44_100)"
        )
    is_number = isinstance(rate_hz, numbers.Real) and not isinstance(rate_hz, bool)
    if not is_number or not math.isfinite(rate_hz) or rate_hz != int(rate_hz):
        raise SettingError(f"rate_hz={rate_hz!r}: not a whole number; give the sample rate in Hz")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise SettingError(f"rate_hz={rate_hz!r}: give a sample rate from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    return int(rate_hz)


def _block(samples: NDArray) -> NDArray[np.int16] | NDArray[np.float64]:
    """Return samples of any type as a decoder returns them: int16, or float64 with full scale 1.0."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    if kind == "i" and size == 2:
        return samples.astype(np.int16, copy=False)  # in native byte order
    if kind == "i" and size == 4:
        return samples / _INT32_FULL_SCALE
    if kind == "u" and size == 1:
        return (samples - _UINT8_MIDDLE) / _UINT8_MIDDLE
    if kind == "f" and size <= 8:
        peak = np.abs(samples).max()
        if np.isfinite(peak) and peak > _MAX_FLOAT:
            raise SettingError(
                f"the waveform: floats up to {peak:g}, but full scale is 1.0; divide by the full scale "
                "of their source (int16: 32768), or give the integers as they are"
            )
        return samples.astype(np.float64, copy=False)
    raise SettingError(
        f"the waveform: samples are {samples.dtype}; give float64, float32 or float16 with full scale 1.0, "
        "or int16, int32 or uint8"
    )
