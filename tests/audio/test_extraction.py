import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.audio.dsp.windows import waveform_windows
from transforms.audio.extraction import MAX_BYTES, MAX_EXAMPLES, Extraction, _regrouped
from transforms.audio.paddings import REPEAT, ZEROS
from transforms.audio.resamplers import RESAMPY, SOXR
from transforms.vggish.params import Framing


@pytest.mark.parametrize("extraction", [Extraction(), Extraction(Framing(2.5, 0.31), SOXR, True, REPEAT)])
def test_json_keeps_every_setting(extraction):
    assert Extraction.from_json(json.loads(json.dumps(extraction.to_json()))) == extraction


@given(lengths=st.lists(st.integers(0, 9)), max_rows=st.integers(1, 7))
def test_rows_are_regrouped_in_order(lengths, max_rows):
    rows = np.arange(sum(lengths))
    arrays = list(_regrouped(np.split(rows, np.cumsum(lengths)[:-1]) if lengths else [], max_rows))
    assert [row for array in arrays for row in array] == rows.tolist()
    assert all(len(array) == max_rows for array in arrays[:-1])
    assert all(len(array) <= max_rows for array in arrays)


@pytest.mark.parametrize("windows", [False, True])
def test_examples_are_those_of_the_front_end_in_arrays_of_the_maximum_size(windows):
    waveform, extraction = (
        np.random.default_rng(0).uniform(-1, 1, 60_000),
        Extraction(Framing(hop_s=0.02), windows=windows),
    )
    arrays = list(extraction.examples([waveform], 16_000))
    most = extraction.max_examples(16_000)
    assert (
        len(arrays) > 1 and all(len(array) == most for array in arrays[:-1]) and 0 < len(arrays[-1]) <= most
    )
    cut = waveform_windows if windows else waveform_examples
    expected = np.concatenate(list(cut([waveform], 16_000, extraction.framing)))
    np.testing.assert_array_equal(np.concatenate(arrays), expected)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("padding", [ZEROS, REPEAT])
def test_a_short_waveform_is_padded_before_either_front_end(windows, padding):
    waveform = np.random.default_rng(0).uniform(-1, 1, 10_000)
    whole = np.resize(waveform, 42_998) if padding == REPEAT else np.append(waveform, np.zeros(32_998))
    (array,) = Extraction(windows=windows, padding=padding).examples([waveform], 44_100)
    (expected,) = Extraction(windows=windows).examples([whole], 44_100)
    np.testing.assert_array_equal(array, expected)
    assert len(array) == 1


def test_an_array_is_bounded_in_examples_and_in_bytes():
    assert Extraction().max_examples(16_000) == MAX_EXAMPLES == 128
    long = Extraction(Framing(window_s=10.0))
    assert long.max_examples(16_000) == MAX_BYTES // (1_000 * 64 * 4)
    assert Extraction(windows=True).max_examples(16_000) == MAX_BYTES // (15_600 * 4)
    assert Extraction(windows=True).max_examples(48_000) < Extraction(windows=True).max_examples(16_000)
    assert Extraction(Framing(window_s=3_600.0)).max_examples(16_000) == 1


@pytest.mark.parametrize(
    ("rate_hz", "resampler", "needs"),
    [(16_000, RESAMPY, False), (44_100, RESAMPY, False), (44_099, RESAMPY, True), (44_099, SOXR, False)],
)
def test_only_unusual_rates_need_the_compiler(rate_hz, resampler, needs):
    assert Extraction(resampler=resampler).needs_compiler(rate_hz) is needs
