import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.audio.dsp.sliding import SlidingWindow


@given(
    size=st.integers(1, 12),
    step_back=st.integers(0, 11),
    num_zeros=st.integers(0, 11),
    lengths=st.lists(st.integers(0, 30), max_size=5),
)
def test_windows_begin_a_step_apart_for_any_block_boundaries(size, step_back, num_zeros, lengths):
    step, num_zeros = max(size - step_back, 1), min(num_zeros, size - 1)
    waveform = np.arange(1.0, sum(lengths) + 1)
    padded = np.concatenate([np.zeros(num_zeros), waveform])
    window, found = SlidingWindow(size, step, num_zeros), []
    for block in np.split(waveform, np.cumsum(lengths)[:-1]) if lengths else []:
        found += [samples.copy() for samples in window.push(block)]
    starts = range(0, max(len(padded) - size + 1, 0), step)
    assert [samples.tolist() for samples in found] == [
        padded[start : start + size].tolist() for start in starts
    ]
    rest = padded[len(starts) * step :]
    assert window.samples[: window.filled].tolist() == rest.tolist()


def test_moving_on_from_a_window_that_is_not_full_keeps_what_follows_the_step():
    window = SlidingWindow(6, 4)
    assert list(window.push(np.arange(5.0))) == []
    window.move()
    assert window.samples[: window.filled].tolist() == [4.0]
    window.move()
    assert window.filled == 0
