import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.statistics.moments import Moments, mean_shifts

SEEDS = st.integers(0, 2**32 - 1)


def moments_of(vectors: np.ndarray) -> Moments:
    """Compute the moments with NumPy only."""
    vectors = vectors.astype(np.float64)
    covariance = np.cov(vectors, rowvar=False).reshape(vectors.shape[1], -1)
    return Moments(
        len(vectors),
        vectors.mean(axis=0),
        covariance if len(vectors) > 1 else np.zeros_like(covariance),
        vectors.min(axis=0),
        vectors.max(axis=0),
        np.quantile(vectors, np.arange(1, 100) / 100, axis=0).T,
        (vectors == 0).sum(axis=0),
        (vectors == 255).sum(axis=0),
    )


def gaussian(mean, covariance) -> Moments:
    mean = np.array(mean, np.float64)
    none = np.zeros_like(mean)
    covariance = np.array(covariance, np.float64)
    return Moments(2, mean, covariance, none, none, none[:, None], none.astype(int), none.astype(int))


def random_vectors(seed: int, count: int = 40, size: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)


def test_sums_give_the_moments_of_a_sample():
    vectors = random_vectors(0)
    expected = moments_of(vectors)
    others = {n: getattr(expected, n) for n in ("minimum", "maximum", "quantiles", "at_0", "at_255")}
    biased = np.cov(vectors, rowvar=False, ddof=0)
    moments = Moments.of_sums(len(vectors), vectors.sum(axis=0), biased, **others)
    np.testing.assert_allclose(moments.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, expected.covariance, rtol=1e-13)


def test_one_vector_has_no_variance():
    assert not Moments.of_sums(
        1,
        np.ones(2),
        np.zeros((2, 2)),
        **{name: np.zeros(2) for name in ("minimum", "maximum", "quantiles", "at_0", "at_255")},
    ).variance.any()


@given(seed=SEEDS, step=st.floats(0.01, 10), low=st.floats(-10, 10))
def test_scaled_moments_are_those_of_scaled_vectors(seed, step, low):
    vectors = random_vectors(seed)
    scaled, expected = moments_of(vectors).scaled(step, low), moments_of(low + step * vectors)
    for name in ("mean", "covariance", "minimum", "maximum", "quantiles"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(expected, name), rtol=1e-9, atol=1e-9)


@given(seed=SEEDS)
def test_json_restores_the_moments_exactly(seed):
    moments = moments_of(random_vectors(seed))
    back = Moments.from_json(json.loads(json.dumps(moments.to_json())))
    for name, value in vars(moments).items():
        np.testing.assert_array_equal(getattr(back, name), value)


def test_shifts_are_in_the_others_standard_deviations():
    one = gaussian([1, 5, 2, 2], np.eye(4))
    other = gaussian([0, 1, 2, 1], np.diag([4, 16, 0, 0]))
    np.testing.assert_array_equal(mean_shifts(one, other), [0.5, 1, 0, np.inf])


def test_correlation_is_of_dimensions_that_vary():
    covariance = [[4, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert gaussian([0, 0, 0], covariance).mean_correlation == pytest.approx(0.5)
    assert gaussian([0], [[1]]).mean_correlation == 0
