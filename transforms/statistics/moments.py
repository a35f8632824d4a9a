"""Moments of the vectors of a corpus, and distances between two corpora."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Statistics of `count` vectors of d values.

    Attributes:
      count: number of vectors, at least 1.
      mean: float64[d].
      covariance: float64[d, d], sample covariance (divided by count - 1, as by NumPy's `cov`); 0 for one
        vector.
      minimum, maximum: float64[d].
      quantiles: float64[d, q - 1] at the fractions 1/q, 2/q, ... (q - 1)/q; approximate.
      at_0, at_255: int64[d], numbers of vectors with the value 0, and 255; bytes with these are clipped.
    """

    count: int
    mean: Array
    covariance: Array
    minimum: Array
    maximum: Array
    quantiles: Array
    at_0: NDArray[np.int64]
    at_255: NDArray[np.int64]

    @classmethod
    def of_sums(cls, count: int, total: Array, biased_covariance: Array, **others: NDArray) -> "Moments":
        """Compute moments from the sum of vectors and the biased covariance that `tft.covariance` returns."""
        covariance = biased_covariance * (count / max(1, count - 1))
        return cls(count, total / count, covariance, **others)

    @property
    def variance(self) -> Array:
        """Variances, float64[d]."""
        return np.diag(self.covariance).clip(min=0)

    @property
    def std(self) -> Array:
        """Standard deviations, float64[d]."""
        return np.sqrt(self.variance)

    @property
    def axis_variances(self) -> Array:
        """Eigenvalues of the covariance, ascending, float64[d]."""
        return np.linalg.eigvalsh(self.covariance).clip(min=0)

    @property
    def mean_correlation(self) -> float:
        """Mean absolute correlation of two dimensions that vary; 0 if fewer than two vary."""
        varies = self.variance > 0
        std = self.std[varies]
        correlation = np.abs(self.covariance[np.ix_(varies, varies)]) / np.outer(std, std)
        pairs = len(std) * (len(std) - 1)
        return float((correlation.sum() - len(std)) / pairs) if pairs else 0.0

    def quantile(self, percent: int) -> Array:
        """Return a percentile, float64[d]; requires moments with 99 quantiles."""
        return self.quantiles[:, percent - 1]

    def scaled(self, step: float, low: float) -> "Moments":
        """Return the moments of `low + step * vector`; the counts do not change."""
        return replace(
            self,
            mean=low + step * self.mean,
            covariance=step**2 * self.covariance,
            minimum=low + step * self.minimum,
            maximum=low + step * self.maximum,
            quantiles=low + step * self.quantiles,
        )

    def to_json(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Moments":
        """Return the moments of a dict from `to_json`, without loss."""
        return cls(values.pop("count"), **{name: np.array(value) for name, value in values.items()})


def mean_shifts(one: Moments, other: Moments) -> Array:
    """Return the shift of each dimension's mean, in standard deviations of the other, float64[d].

    It is infinite if the other's value is constant and this mean differs from it.
    """
    difference = one.mean - other.mean
    with np.errstate(divide="ignore"):
        return np.divide(difference, other.std, out=np.zeros_like(difference), where=difference != 0)
