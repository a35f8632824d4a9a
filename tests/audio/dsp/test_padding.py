import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audio.dsp.padding import pad_short
from transforms.audio.dsp.resample import resampled_length
from transforms.audio.paddings import REPEAT, ZEROS
from transforms.vggish.params import Framing

FRAMING = Framing()


def padded(waveform: np.ndarray, cuts: list[int], rate_hz: int, padding) -> np.ndarray:
    blocks = np.split(waveform, sorted(cut % (len(waveform) + 1) for cut in cuts))
    return np.concatenate([np.empty(0), *pad_short(blocks, rate_hz, FRAMING, padding)])


@given(
    st.integers(1, 40_000),
    st.lists(st.integers(0, 40_000), max_size=4),
    st.sampled_from([4_000, 11_025, 16_000, 22_050, 44_100, 47_999, 192_000]),
    st.sampled_from([ZEROS, REPEAT]),
)
def test_a_short_waveform_becomes_exactly_one_example_and_a_longer_one_stays(length, cuts, rate_hz, padding):
    waveform = np.random.default_rng(length).uniform(-1, 1, length)
    result = padded(waveform, cuts, rate_hz, padding)
    np.testing.assert_array_equal(result[:length], waveform)
    if FRAMING.num_examples(resampled_length(length, rate_hz)):
        assert len(result) == length
        return
    assert FRAMING.num_examples(resampled_length(len(result), rate_hz)) == 1
    assert FRAMING.num_examples(resampled_length(len(result) - 1, rate_hz)) == 0
    added = result[length:]
    np.testing.assert_array_equal(added, np.resize(waveform, len(added)) if padding == REPEAT else 0 * added)


@pytest.mark.parametrize("blocks", [[], [np.empty(0)], [np.empty(0), np.empty(0)]])
@pytest.mark.parametrize("padding", [ZEROS, REPEAT, None])
def test_nothing_is_not_padded(blocks, padding):
    assert sum(map(len, pad_short(blocks, 16_000, FRAMING, padding))) == 0


def test_without_a_padding_the_blocks_are_those_given():
    blocks = [np.ones(3), np.ones(4)]
    assert all(
        one is other for one, other in zip(pad_short(blocks, 16_000, FRAMING, None), blocks, strict=True)
    )
