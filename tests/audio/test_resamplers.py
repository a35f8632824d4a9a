from typing import get_args

import numpy as np
import pytest

from transforms.audio.dsp.resample import resample_blocks
from transforms.audio.resamplers import RESAMPY, SOXR, Resampler


@pytest.mark.parametrize("resampler", get_args(Resampler))
def test_each_name_is_a_resampler(resampler):
    block = np.sin(np.arange(44_100) / 10)
    samples = np.concatenate(list(resample_blocks([block], 44_100, resampler)))
    assert len(samples) == 16_000 and samples.any()


def test_names_are_those_of_the_type():
    assert {RESAMPY, SOXR} == set(get_args(Resampler))
