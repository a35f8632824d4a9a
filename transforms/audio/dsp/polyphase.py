"""resampy's `kaiser_best` as matrix products.

For a rational ratio, L samples out for M samples in, resampy's interpolated filter takes only L sets of
taps, over and over. The waveform is cut into rows of a multiple of M samples, and each group of
outputs of all rows is one product of a strided view of it with the group's taps.
"""

import functools
import importlib.util
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transforms.vggish.params import SAMPLE_RATE_HZ

FILTER = "kaiser_best"

# With more, the taps of a second of audio take more memory than the audio, and rows of many seconds would
# be padded for short clips. 11,025 Hz has 640.
_MAX_PHASES = 1280
# Outputs of one product: as few as BLAS is fast with, since each takes the inputs of all; and fewer, for
# numbers of phases that these do not divide.
_GROUP_SIZES, _SMALL_GROUP_SIZES = (32, 24, 40, 48), (16, 8)
# Where groups are alike their matrix stays in the cache, and a smaller one is the fastest.
_ALIKE_GROUP_SIZE = 16
# Outputs of a row of `row_taps`, at least: with fewer, more rows would take part in each.
_MIN_ROW_OUTPUTS = 160
# Of one `apply`, at most: 256 KiB in, which stay in the cache while each group reads them, and a second out,
# since what the last one gives beyond a clip's end is for nothing. The number of rows is fixed, since BLAS
# may add up in another order for another number.
_BLOCK_SAMPLES, _BLOCK_OUTPUTS = 1 << 15, SAMPLE_RATE_HZ


@dataclass(frozen=True, eq=False)
class InterpolatedFilter:
    """resampy's filter for one rate, as `resampy.resample` prepares it.

    Attributes:
      window, delta: float64[taps], the right wing and its differences.
      precision: filter samples between zero crossings.
      scale: the rates' ratio, at most 1.
      time_increment: input samples from one output sample to the next.
      reach: input samples on either side that an output sample can depend on.
    """

    window: NDArray[np.float64]
    delta: NDArray[np.float64]
    precision: int
    scale: float
    time_increment: float
    reach: int

    def taps(self, frac: float) -> NDArray[np.float64]:
        """Weights of an output `frac` of a sample after an input sample.

        Returns:
          float64[2 * reach + 2], of the samples from `reach` before that input sample on.
        """
        taps = np.zeros(2 * self.reach + 2)
        left = self._wing(self.scale * frac)
        right = self._wing(self.scale - self.scale * frac)
        taps[self.reach - len(left) + 1 : self.reach + 1] = left[::-1]
        taps[self.reach + 1 : self.reach + 1 + len(right)] = right
        return taps

    def _wing(self, distance: float) -> NDArray[np.float64]:
        """Weights of the samples on one side, the nearest first; `distance` to it in zero crossings."""
        index = distance * self.precision
        offset, step = int(index), int(self.scale * self.precision)
        count = (len(self.window) - offset) // step
        places = slice(offset, offset + count * step, step)
        return self.window[places] + (index - offset) * self.delta[places]


def interpolated_filter(rate_hz: int) -> InterpolatedFilter:
    """The filter from `rate_hz` to 16 kHz; its numbers are resampy's own.

    It takes 7 MB, so that only what is made of it is kept.
    """
    window, precision = _half_window()
    ratio = float(SAMPLE_RATE_HZ) / rate_hz
    if ratio < 1:
        window = ratio * window
    scale = min(1.0, ratio)
    reach = len(window) // int(scale * precision) + 1
    delta = np.zeros_like(window)
    np.subtract(window[1:], window[:-1], out=delta[:-1])
    return InterpolatedFilter(window, delta, precision, scale, _time_increment(rate_hz), reach)


@functools.cache
def filter_reach(rate_hz: int) -> int:
    """`InterpolatedFilter.reach`."""
    return interpolated_filter(rate_hz).reach


def _time_increment(rate_hz: int) -> float:
    """resampy's, with its rounding."""
    return 1.0 / (float(SAMPLE_RATE_HZ) / rate_hz)


def _half_window() -> tuple[NDArray[np.float64], int]:
    # Read where resampy has it: resampy itself brings a compiler, 0.1 GB a process.
    spec = importlib.util.find_spec("resampy")
    assert spec is not None and spec.submodule_search_locations is not None
    with np.load(Path(spec.submodule_search_locations[0], "data", f"{FILTER}.npz")) as data:
        return data["half_window"], int(data["precision"])


@dataclass(frozen=True, eq=False)
class Polyphase:
    """The taps of one rate, as matrices.

    Attributes:
      reach: zeros that go before the waveform.
      taps: float64[groups, window, outputs]: a group's outputs of a row; one group stands for all where
        they are alike.
      num_groups: groups in a row.
      group_step: samples from one group's window to the next one's.
      row_samples: samples from one row to the next.
      num_rows: rows of an `apply`.
    """

    reach: int
    taps: NDArray[np.float64]
    num_groups: int
    group_step: int
    row_samples: int
    num_rows: int

    @property
    def block_outputs(self) -> int:
        """Samples at 16 kHz that `apply` gives."""
        return self.num_rows * self.num_groups * self.taps.shape[2]

    @property
    def block_samples(self) -> int:
        """Samples from one `apply`'s window to the next one's."""
        return self.num_rows * self.row_samples

    @property
    def window_samples(self) -> int:
        """Samples that an `apply` depends on."""
        last_row = (self.num_rows - 1) * self.row_samples
        return last_row + (self.num_groups - 1) * self.group_step + self.taps.shape[1]

    def windows(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[window_samples], contiguous -> a view of each group's window of each row, for `apply`."""
        (item,) = samples.strides
        return np.lib.stride_tricks.as_strided(
            samples,
            (self.num_groups, self.num_rows, self.taps.shape[1]),
            (self.group_step * item, self.row_samples * item, item),
            writeable=False,
        )

    def apply(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `windows` gives -> float64[block_outputs]."""
        outputs = np.empty((self.num_rows, self.num_groups, self.taps.shape[2]))
        np.matmul(windows, self.taps, out=outputs.transpose(1, 0, 2))
        return outputs.reshape(-1)


@functools.cache
def has_polyphase(rate_hz: int) -> bool:
    """Whether there are matrices to 16 kHz: not where the ratio has too many phases, or none that last."""
    num_phases, period = _ratio(rate_hz)
    return num_phases <= _MAX_PHASES and not _slips(_time_increment(rate_hz), num_phases, period)


@functools.cache
def polyphase(rate_hz: int) -> Polyphase | None:
    """The matrices from `rate_hz` to 16 kHz; None where `has_polyphase` has none."""
    found = _phases(rate_hz)
    if found is None:
        return None
    phases, starts = found
    filters = interpolated_filter(rate_hz)
    num_phases, period = _ratio(rate_hz)
    num_periods, size = _row(num_phases, period, 2 * filters.reach + 2)
    num_groups = num_periods * num_phases // size
    group_step = size * period // num_phases
    # Groups begin at a whole number of samples after each other, and drift from it by less than one each.
    alike = size % num_phases == 0
    groups = [
        _group_taps(range(n * size, (n + 1) * size), n * group_step, starts, period, phases)
        for n in range(1 if alike else num_groups)
    ]
    length = max(map(len, groups))
    taps = np.stack([np.pad(group, ((0, length - len(group)), (0, 0))) for group in groups])
    row_samples, row_outputs = num_periods * period, num_periods * num_phases
    num_rows = max(1, min(_BLOCK_SAMPLES // row_samples, _BLOCK_OUTPUTS // row_outputs))
    return Polyphase(filters.reach, taps, num_groups, group_step, row_samples, num_rows)


@functools.cache
def row_taps(rate_hz: int) -> NDArray[np.float64] | None:
    """The same filter as few large products, without a copy of any sample: as accelerators like it.

    A waveform with `reach` zeros before it is cut into rows of M samples, and L outputs of row n are the
    sum of the products of the rows n, n + 1, ... with one matrix each.

    Returns:
      float64[rows, M, L]; None where `polyphase` gives none.
    """
    found = _phases(rate_hz)
    if found is None:
        return None
    phases, starts = found
    num_phases, period = _ratio(rate_hz)
    num_periods = math.ceil(_MIN_ROW_OUTPUTS / num_phases)
    matrix = _group_taps(range(num_periods * num_phases), 0, starts, period, phases)
    row = num_periods * period
    num_rows = math.ceil(len(matrix) / row)
    padded = np.pad(matrix, ((0, num_rows * row - len(matrix)), (0, 0)))
    return padded.reshape(num_rows, row, num_periods * num_phases)


def _ratio(rate_hz: int) -> tuple[int, int]:
    """Samples out and samples in of a period."""
    divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    return SAMPLE_RATE_HZ // divisor, rate_hz // divisor


def _phases(rate_hz: int) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]] | None:
    """Taps of each output of a period and the sample before it; None where no such taps last."""
    if not has_polyphase(rate_hz):
        return None
    num_phases, _ = _ratio(rate_hz)
    filters = interpolated_filter(rate_hz)
    times = np.arange(num_phases) * filters.time_increment
    starts = times.astype(np.int64)
    return [filters.taps(time - start) for time, start in zip(times, starts, strict=True)], starts


def _slips(time_increment: float, num_phases: int, period: int) -> bool:
    """Whether resampy ever takes an output that is due at an input sample for one just before it.

    Its filter's two wings do not quite meet, so that such an output has other taps: by up to 1e-4. Its time
    axis is `n * time_increment`, rounded; half a unit in the last place is at least 2**-54 of a number.
    """
    error = Fraction(time_increment) * num_phases / period - 1
    return error < -Fraction(1, 2**54)


def _row(num_phases: int, period: int, span: int) -> tuple[int, int]:
    """Periods in a row and outputs in a group, such that a group's window is no longer than a row.

    BLAS then takes the rows where they are.
    """
    first = math.ceil(span / period)
    best = _GROUP_SIZES if _ALIKE_GROUP_SIZE % num_phases else (_ALIKE_GROUP_SIZE,)
    tries: list[tuple[int, tuple[int, ...]]] = [(n, best) for n in range(first, 4 * first + 1)]
    more = ((n, _SMALL_GROUP_SIZES) for n in itertools.count(first))
    for num_periods, sizes in itertools.chain(tries, more):
        num_outputs = num_periods * num_phases
        for size in sizes:
            length = span + math.ceil(size * period / num_phases) + num_outputs // size
            if num_outputs % size == 0 and length <= num_periods * period:
                return num_periods, size
    raise AssertionError


def _group_taps(
    outputs: range,
    start: int,
    starts: NDArray[np.int64],
    period: int,
    phases: list[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """One group's matrix, float64[window, outputs], from sample `start` of the row on."""
    columns = []
    for output in outputs:
        number, phase = divmod(output, len(phases))
        columns.append((number * period + int(starts[phase]) - start, phases[phase]))
    matrix = np.zeros((max(first for first, _ in columns) + len(phases[0]), len(columns)))
    for column, (first, taps) in enumerate(columns):
        matrix[first : first + len(taps), column] = taps
    return matrix
