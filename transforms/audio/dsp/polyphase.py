"""resampy's `kaiser_best` resampler as matrix products.

If L samples out correspond to M samples in, resampy's interpolated filter has only L different sets of taps
("phases"), which repeat with each period of M input samples. Example: 24 kHz to 16 kHz has L = 2 and M = 3.

    input sample    0    1    2    3    4    5    6
    output          0      1       2      3       4
    input time      0.0    1.5     3.0    4.5     6.0
    phase           0      1       0      1       0       the taps depend on the phase alone

The waveform is cut into rows of a whole number of periods, and the outputs of a row into groups. The columns
of a group's matrix are the taps of its outputs. One product of all rows with the matrix gives the group's
outputs of all rows. A strided view provides the overlapping windows of the rows without a copy. Example:
44.1 kHz has L = 160 and M = 441. `Polyphase.apply` takes 74 rows of one period, with 5 groups of 32 outputs.

    row 0      |-- 441 samples --|-- 441 samples --|-- ...
    group 0    [ 364 samples ] @ taps[0]                 ->  outputs 0 to 31
    group 1      +88 [ 364 samples ] @ taps[1]           ->  outputs 32 to 63
    ...                                                      each product: [74, 364] @ [364, 32]
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

# With more phases, the taps would take megabytes, and short clips would be padded to rows of many seconds.
# 11,025 Hz has 640 phases.
_MAX_PHASES = 1280
# Outputs per group. Each group reads its inputs again, and these sizes are the smallest with which BLAS is
# fast. The small sizes are for numbers of phases that the others do not divide.
_GROUP_SIZES, _SMALL_GROUP_SIZES = (32, 24, 40, 48), (16, 8)
# If all groups share one matrix, it stays in the cache, and a smaller group is the fastest.
_SHARED_GROUP_SIZE = 16
# Minimum outputs per row of `row_taps`: with shorter rows, more rows would contribute to each output.
_MIN_ROW_OUTPUTS = 160
# Limits of one `apply`. 256 KiB of input stay in the cache while each group reads them. A second of output
# limits the waste after the end of a clip. The number of rows is fixed, since BLAS may add in another order
# for another number of rows.
_BLOCK_SAMPLES, _BLOCK_OUTPUTS = 1 << 15, SAMPLE_RATE_HZ


@dataclass(frozen=True, eq=False)
class InterpolatedFilter:
    """resampy's filter for one rate, as `resampy.resample` prepares it."""

    window: NDArray[np.float64]  # float64[taps], the right half of the filter
    delta: NDArray[np.float64]  # float64[taps], its differences
    precision: int  # filter samples between zero crossings
    scale: float  # the ratio of the rates, at most 1
    time_increment: float  # input samples from one output sample to the next
    reach: int  # input samples on each side on which an output sample can depend

    def taps(self, frac: float) -> NDArray[np.float64]:
        """Return the weights for an output that is `frac` of a sample after an input sample.

        Returns:
          float64[2 * reach + 2], for the samples that begin `reach` before that input sample.
        """
        taps = np.zeros(2 * self.reach + 2)
        left = self._wing(self.scale * frac)
        right = self._wing(self.scale - self.scale * frac)
        taps[self.reach - len(left) + 1 : self.reach + 1] = left[::-1]
        taps[self.reach + 1 : self.reach + 1 + len(right)] = right
        return taps

    def _wing(self, distance: float) -> NDArray[np.float64]:
        """Return the weights on one side, nearest sample first; `distance` to it is in zero crossings."""
        index = distance * self.precision
        offset, step = int(index), int(self.scale * self.precision)
        count = (len(self.window) - offset) // step
        places = slice(offset, offset + count * step, step)
        return self.window[places] + (index - offset) * self.delta[places]


def interpolated_filter(rate_hz: int) -> InterpolatedFilter:
    """Return the filter from `rate_hz` to 16 kHz, with resampy's own numbers.

    The filter takes 7 MB, so it is not cached; only its taps are.
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
    """Return `InterpolatedFilter.reach`."""
    return interpolated_filter(rate_hz).reach


def _time_increment(rate_hz: int) -> float:
    """Return resampy's time increment, with its rounding."""
    return 1.0 / (float(SAMPLE_RATE_HZ) / rate_hz)


def _half_window() -> tuple[NDArray[np.float64], int]:
    # Read resampy's data file without importing resampy, which loads a compiler: 0.1 GB per process.
    spec = importlib.util.find_spec("resampy")
    assert spec is not None and spec.submodule_search_locations is not None
    with np.load(Path(spec.submodule_search_locations[0], "data", f"{FILTER}.npz")) as data:
        return data["half_window"], int(data["precision"])


@dataclass(frozen=True, eq=False)
class Polyphase:
    """The taps of one rate as matrices: one per group of a row, or one that all groups share."""

    reach: int  # number of zeros to put before the waveform
    taps: NDArray[np.float64]  # float64[groups, window, outputs]
    num_groups: int  # per row
    group_step: int  # samples from one group's window to the next one's
    row_samples: int  # samples from one row to the next
    num_rows: int  # per `apply`

    @property
    def block_outputs(self) -> int:
        """Samples at 16 kHz that one `apply` returns."""
        return self.num_rows * self.num_groups * self.taps.shape[2]

    @property
    def block_samples(self) -> int:
        """Samples from one `apply`'s window to the next one's."""
        return self.num_rows * self.row_samples

    @property
    def window_samples(self) -> int:
        """Samples that one `apply` reads."""
        last_row = (self.num_rows - 1) * self.row_samples
        return last_row + (self.num_groups - 1) * self.group_step + self.taps.shape[1]

    def windows(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a view, [groups, rows, window], of contiguous float64[window_samples], for `apply`."""
        (item,) = samples.strides
        return np.lib.stride_tricks.as_strided(
            samples,
            (self.num_groups, self.num_rows, self.taps.shape[1]),
            (self.group_step * item, self.row_samples * item, item),
            writeable=False,
        )

    def apply(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64[block_outputs] from a view that `windows` returned."""
        outputs = np.empty((self.num_rows, self.num_groups, self.taps.shape[2]))
        np.matmul(windows, self.taps, out=outputs.transpose(1, 0, 2))
        return outputs.reshape(-1)


@functools.cache
def has_polyphase(rate_hz: int) -> bool:
    """Return whether there are matrices to 16 kHz: the ratio has few phases, and they repeat exactly."""
    num_phases, period = _ratio(rate_hz)
    return num_phases <= _MAX_PHASES and not _rounds_down(_time_increment(rate_hz), num_phases, period)


@functools.cache
def polyphase(rate_hz: int) -> Polyphase | None:
    """Return the matrices from `rate_hz` to 16 kHz; None if `has_polyphase` is false."""
    found = _phases(rate_hz)
    if found is None:
        return None
    phases, starts = found
    filters = interpolated_filter(rate_hz)
    num_phases, period = _ratio(rate_hz)
    num_periods, size = _row_layout(num_phases, period, 2 * filters.reach + 2)
    num_groups = num_periods * num_phases // size
    group_step = size * period // num_phases
    # Group windows are a whole number of samples apart, which drifts from the outputs by less than one each.
    is_shared = size % num_phases == 0
    groups = [
        _group_taps(range(n * size, (n + 1) * size), n * group_step, starts, period, phases)
        for n in range(1 if is_shared else num_groups)
    ]
    length = max(map(len, groups))
    taps = np.stack([np.pad(group, ((0, length - len(group)), (0, 0))) for group in groups])
    row_samples, row_outputs = num_periods * period, num_periods * num_phases
    num_rows = max(1, min(_BLOCK_SAMPLES // row_samples, _BLOCK_OUTPUTS // row_outputs))
    return Polyphase(filters.reach, taps, num_groups, group_step, row_samples, num_rows)


@functools.cache
def row_taps(rate_hz: int) -> NDArray[np.float64] | None:
    """Return the same filter as few large products on uncopied samples, which accelerators compute fast.

    A waveform with `reach` zeros before it is cut into rows of a whole number of periods. The outputs of row
    n are the sum of the products of rows n, n + 1, ... with one matrix each.

    Returns:
      float64[reached rows, samples per row, outputs per row]; None at 16 kHz, or if `polyphase` returns None.
    """
    found = None if rate_hz == SAMPLE_RATE_HZ else _phases(rate_hz)
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
    """Return the number of output and of input samples per period."""
    divisor = math.gcd(rate_hz, SAMPLE_RATE_HZ)
    return SAMPLE_RATE_HZ // divisor, rate_hz // divisor


def _phases(rate_hz: int) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]] | None:
    """Return the taps and the preceding input sample of each output of a period; None without polyphase."""
    if not has_polyphase(rate_hz):
        return None
    num_phases, _ = _ratio(rate_hz)
    filters = interpolated_filter(rate_hz)
    times = np.arange(num_phases) * filters.time_increment
    starts = times.astype(np.int64)
    return [filters.taps(time - start) for time, start in zip(times, starts, strict=True)], starts


def _rounds_down(time_increment: float, num_phases: int, period: int) -> bool:
    """Return whether resampy rounds the time of any output at a whole input sample to just before it.

    resampy's left and right filter halves differ at whole samples, so such an output has other taps, by up to
    1e-4. Its time axis is the rounded `n * time_increment`; half a unit in the last place of a number is at
    least 2**-54 of it.
    """
    error = Fraction(time_increment) * num_phases / period - 1
    return error < -Fraction(1, 2**54)


def _row_layout(num_phases: int, period: int, span: int) -> tuple[int, int]:
    """Choose the periods per row and the outputs per group such that a group's window fits into a row.

    BLAS then reads the rows without a copy. Example: at 44.1 kHz an output depends on `span` = 278 samples. A
    group of 32 outputs needs 32 * 441 / 160 = 88.2 more, and up to 5 because its window begins at a whole
    sample. These 372 samples fit into a row of one period, 441.
    """
    first = math.ceil(span / period)
    best = _GROUP_SIZES if _SHARED_GROUP_SIZE % num_phases else (_SHARED_GROUP_SIZE,)
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
    """Return one group's matrix, float64[window, outputs], for a window from sample `start` of the row on."""
    columns = []
    for output in outputs:
        number, phase = divmod(output, len(phases))
        columns.append((number * period + int(starts[phase]) - start, phases[phase]))
    matrix = np.zeros((max(first for first, _ in columns) + len(phases[0]), len(columns)))
    for column, (first, taps) in enumerate(columns):
        matrix[first : first + len(taps), column] = taps
    return matrix
