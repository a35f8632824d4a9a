import math

import numpy as np
import pytest

from transforms.audio.dsp.polyphase import (
    filter_reach,
    has_polyphase,
    interpolated_filter,
    polyphase,
    row_taps,
)

RATES_HZ = [8_000, 11_025, 22_050, 44_100, 48_000]


def outputs_by_definition(waveform: np.ndarray, rate_hz: int, numbers) -> np.ndarray:
    """Compute the outputs with these numbers one by one, with the taps of each one's time."""
    filters = interpolated_filter(rate_hz)
    padded = np.concatenate([np.zeros(filters.reach), waveform, np.zeros(filters.reach + 2)])
    found = []
    for number in numbers:
        start = int(number * filters.time_increment)
        taps = filters.taps(number * filters.time_increment - start)
        found.append(padded[start : start + len(taps)] @ taps)
    return np.array(found)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_matrices_give_the_outputs_of_the_definition(rate_hz):
    filters = polyphase(rate_hz)
    waveform = np.random.default_rng(rate_hz).uniform(-1, 1, filters.window_samples - filters.reach)
    windows = filters.windows(np.concatenate([np.zeros(filters.reach), waveform]))
    outputs = filters.apply(windows)
    assert len(outputs) == filters.block_outputs
    assert filters.block_outputs * rate_hz == filters.block_samples * 16_000
    numbers = [*range(700), *range(len(outputs) - 300, len(outputs))]
    expected = outputs_by_definition(waveform, rate_hz, numbers)
    np.testing.assert_allclose(outputs[numbers], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_products_of_whole_rows_give_the_same_outputs(rate_hz):
    taps = row_taps(rate_hz)
    num_rows, row, outputs_per_row = taps.shape
    assert outputs_per_row >= 160 and row * 16_000 == outputs_per_row * rate_hz
    waveform = np.random.default_rng(0).uniform(-1, 1, (num_rows + 1) * row)
    rows = np.concatenate([np.zeros(filter_reach(rate_hz)), waveform])[: (num_rows + 1) * row].reshape(
        -1, row
    )
    found = [sum(rows[n + k] @ taps[k] for k in range(num_rows)) for n in range(2)]
    expected = outputs_by_definition(waveform, rate_hz, range(2 * outputs_per_row))
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-9)


def test_there_are_matrices_for_up_to_1280_phases_that_repeat_exactly():
    assert has_polyphase(16_000 * 441 // 160) and has_polyphase(12_500)  # 160 and 32 phases
    assert 16_000 // math.gcd(16_000, 11_025) == 640 and has_polyphase(11_025)
    assert 16_000 // math.gcd(16_000, 4_016) == 1_000 and has_polyphase(4_016)
    assert 16_000 // math.gcd(16_000, 16_010) == 1_600 and not has_polyphase(16_010)
    for rate_hz in (44_099, 22_580):  # 16,000 phases; a time axis that slips below whole samples
        assert not has_polyphase(rate_hz) and polyphase(rate_hz) is None and row_taps(rate_hz) is None
    assert row_taps(16_000) is None


def test_an_output_depends_on_no_sample_beyond_the_reach():
    filters = interpolated_filter(44_100)
    for fraction in (0.0, 0.3, 0.999):
        taps = filters.taps(fraction)
        assert len(taps) == 2 * filters.reach + 2 and taps.any()
        assert taps.sum() == pytest.approx(1.0, abs=1e-3)
        assert taps[filters.reach : filters.reach + 2].max() == taps.max()
