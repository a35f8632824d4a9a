import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.vggish.params import Framing


def test_default_framing_is_the_releases():
    framing = Framing()
    assert (framing.window_frames, framing.hop_frames, framing.min_samples) == (96, 96, 15_600)


@pytest.mark.parametrize(("num_samples", "examples"), [(0, 0), (15_599, 0), (15_600, 1), (160_000, 10)])
def test_ten_seconds_are_ten_examples(num_samples, examples):
    assert Framing().num_examples(num_samples) == examples


@pytest.mark.parametrize("field", ["window_s", "hop_s"])
@pytest.mark.parametrize("value", [0.0, -0.96, 0.001, 0.005, 0.009, math.nan, math.inf, -math.inf])
def test_a_length_outside_the_limits_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Framing(**{field: value})


@given(frames=st.integers(1, 10_000))
def test_a_length_of_whole_frames_has_that_number_of_frames(frames):
    framing = Framing(window_s=frames / 100, hop_s=frames / 100)
    assert (framing.window_frames, framing.hop_frames) == (frames, frames)


@given(window=st.integers(1, 200), hop=st.integers(1, 200), num_samples=st.integers(0, 10**9))
def test_examples_fit_and_one_more_would_not(window, hop, num_samples):
    framing = Framing(window / 100, hop / 100)
    count = framing.num_examples(num_samples)

    def samples_of(examples: int) -> int:
        return 400 + 160 * ((examples - 1) * hop + window - 1)

    assert count == 0 or samples_of(count) <= num_samples
    assert samples_of(count + 1) > num_samples


@given(window=st.integers(1, 200), hop=st.integers(1, 200))
def test_min_samples_is_the_least_that_gives_an_example(window, hop):
    framing = Framing(window / 100, hop / 100)
    assert framing.num_examples(framing.min_samples) == 1
    assert framing.num_examples(framing.min_samples - 1) == 0
