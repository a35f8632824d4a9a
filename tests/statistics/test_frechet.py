from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.statistics.frechet import MIN_VECTORS, Sums, extrapolate, frechet_distance

SEEDS = st.integers(0, 2**32 - 1)


class Normal(NamedTuple):
    mean: np.ndarray
    covariance: np.ndarray


def normal_of(vectors: np.ndarray) -> Normal:
    return Normal(vectors.mean(axis=0), np.cov(vectors, rowvar=False))


def gaussian(mean, covariance) -> Normal:
    return Normal(np.array(mean, np.float64), np.array(covariance, np.float64))


def random_vectors(seed: int, count: int = 40, size: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)


def sums_of(vectors: np.ndarray) -> Sums:
    return Sums(len(vectors), vectors.sum(axis=0), vectors.T @ vectors)


@given(seed=SEEDS)
def test_the_distance_equals_the_formula_with_the_root_of_the_product(seed):
    one, other = normal_of(random_vectors(seed)), normal_of(random_vectors(seed + 1))
    # Independent: the eigenvalues of C1 C2, which is not symmetric, are those of its symmetric form.
    roots = np.sqrt(np.linalg.eigvals(one.covariance @ other.covariance).real.clip(min=0)).sum()
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    expected = ((one.mean - other.mean) ** 2).sum() + traces - 2 * roots
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@given(
    means=st.lists(st.floats(-9, 9), min_size=3, max_size=3),
    stds=st.lists(st.floats(0, 9), min_size=6, max_size=6),
    seed=SEEDS,
)
def test_the_distance_of_gaussians_with_the_same_axes_has_a_closed_form(means, stds, seed):
    axes, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    one, other = np.array(stds[:3]), np.array(stds[3:])
    expected = np.square(means).sum() + np.square(one - other).sum()
    found = frechet_distance(
        gaussian(means, (axes * one**2) @ axes.T), gaussian(np.zeros(3), (axes * other**2) @ axes.T)
    )
    # A variance of 0 is one of 1e-14 after the rotation, and its root a ten millionth of the largest one.
    assert found == pytest.approx(expected, abs=1e-4)


@given(seed=SEEDS, count=st.integers(2, 40))
def test_the_distance_from_itself_is_zero(seed, count):
    normal = normal_of(random_vectors(seed, count))
    assert frechet_distance(normal, normal) <= 1e-6 * np.trace(normal.covariance)


def test_the_distance_of_a_shift_is_its_square():
    assert frechet_distance(gaussian([3, 4], np.eye(2)), gaussian([0, 0], np.eye(2))) == pytest.approx(25)


@given(seed=SEEDS, cuts=st.lists(st.integers(0, 40), max_size=3))
def test_sums_of_parts_are_those_of_the_whole(seed, cuts):
    vectors = random_vectors(seed)
    first, *others = map(sums_of, np.split(vectors, sorted(cuts)))
    total = sum(others, first)
    expected = normal_of(vectors)
    assert total.count == 40
    np.testing.assert_allclose(total.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(total.covariance, expected.covariance, atol=1e-10)
    scaled, expected = total.scaled(0.5, -2.0), normal_of(0.5 * vectors - 2.0)
    np.testing.assert_allclose(scaled.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(scaled.covariance, expected.covariance, atol=1e-10)


def corpus(count: int, shift: float = 0.2, seed: int = 7) -> tuple[list[Sums], Normal]:
    """Returns 25 groups of vectors of a normal distribution, and that distribution with another mean."""
    stds = np.geomspace(2, 0.1, 32)
    vectors = np.random.default_rng(seed).standard_normal((count, 32)) * stds
    return list(map(sums_of, np.array_split(vectors, 25))), gaussian(np.full(32, shift), np.diag(stds**2))


def test_the_extrapolated_distance_is_nearer_to_the_true_one():
    wholes, limits = [], []
    for seed in range(5):
        groups, other = corpus(1_000, shift=0.0, seed=seed)
        found = extrapolate(groups, other)
        counts, distances = np.array(found.points).T
        assert counts.min() >= MIN_VECTORS and counts.max() == 1_000 and (counts == 1_000).sum() == 1
        assert distances[-1] == pytest.approx(frechet_distance(other, sum(groups[1:], groups[0])), rel=1e-9)
        wholes.append(distances[-1])
        limits.append(found.distance)
    # The true distance is 0.
    assert min(wholes) > 0.1 and np.abs(limits).mean() < 0.2 * np.mean(wholes)


def test_the_line_is_that_of_a_reference_computation():
    """Least squares by the normal equations, with the distance by the eigenvalues of C1 C2."""
    groups, other = corpus(1_500)
    points = set()
    for first in (0, 5, 10, 15, 20):
        for number in range(1, 26):
            some = [groups[(first + n) % 25] for n in range(number)]
            if (count := sum(sums.count for sums in some)) >= 500 and (number < 25 or not first):
                mean = sum(sums.total for sums in some) / count
                covariance = sum(sums.products for sums in some) - count * np.outer(mean, mean)
                covariance /= count - 1
                roots = np.sqrt(np.linalg.eigvals(covariance @ other.covariance).real.clip(min=0)).sum()
                trace = np.trace(covariance) + np.trace(other.covariance)
                points.add((count, ((mean - other.mean) ** 2).sum() + trace - 2 * roots))
    counts, distances = np.array(sorted(points)).T
    x = 1 / counts
    slope = ((x - x.mean()) * (distances - distances.mean())).sum() / ((x - x.mean()) ** 2).sum()
    found = extrapolate(groups, other)
    assert found.distance == pytest.approx(distances.mean() - slope * x.mean(), rel=1e-8)
    assert found.r2 == pytest.approx(np.corrcoef(x, distances)[0, 1] ** 2, rel=1e-6)
    assert len(found.points) == len(points)


def test_few_vectors_are_not_extrapolated():
    groups, other = corpus(2 * MIN_VECTORS - 1)
    assert extrapolate(groups, other) is None
    groups, other = corpus(2 * MIN_VECTORS)
    assert extrapolate(groups, other) is not None
    assert extrapolate([], other) is None


def test_few_clips_are_not_extrapolated():
    """One recording is one group, and with a recording that has nearly all frames all samples are alike."""
    groups, other = corpus(2_500)
    none = Sums(0, np.zeros(32), np.zeros((32, 32)))
    assert extrapolate([*groups[:9], *[none] * 16], other) is None
    assert extrapolate([none, *groups[:10], none], other) is not None
    whole = sum(groups[1:], groups[0])
    assert extrapolate([whole, *[none] * 24], other) is None
    assert extrapolate([whole + whole, *groups[:4], *corpus(25)[0]], other) is None


def test_a_corpus_whose_samples_are_alike_is_its_own_limit():
    vectors = np.tile(random_vectors(0, 4), (500, 1))
    groups = list(map(sums_of, np.split(vectors, 25)))
    other = gaussian(np.zeros(6), np.eye(6))
    found = extrapolate(groups, other)
    assert found.distance == pytest.approx(frechet_distance(other, normal_of(vectors)), rel=1e-2)
