"""The Fréchet distance of two corpora, and its extrapolation to infinitely many vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Fewer vectors than this have a covariance whose error does not fall as 1/n yet. As in fadtk, the tool of
# Gui et al., "Adapting Frechet Audio Distance for Generative Music Evaluation", ICASSP 2024.
MIN_VECTORS = 500
# With fewer parts that have vectors, or without a sample much smaller than all, the line is a guess.
MIN_GROUPS = 10
# Distances of several orders of the groups are averaged by the fit.
_NUM_ORDERS = 5


class Gaussian(Protocol):
    """A mean, float64[d], and a covariance, float64[d, d]."""

    @property
    def mean(self) -> Array: ...

    @property
    def covariance(self) -> Array: ...


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over `count` vectors of d values.

    Attributes:
      total: sum of the vectors, float64[d].
      products: sum of their outer products, float64[d, d].
    """

    count: int
    total: Array
    products: Array

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.total + other.total, self.products + other.products)

    def scaled(self, step: float, low: float) -> "Sums":
        """Return the sums of `low + step * vector`."""
        cross = np.add.outer(self.total, self.total)
        products = step**2 * self.products + step * low * cross + self.count * low**2
        return Sums(self.count, self.count * low + step * self.total, products)

    def to_json(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Sums":
        """Return the sums of a dict from `to_json`, without loss."""
        return cls(values["count"], np.array(values["total"]), np.array(values["products"]))

    @property
    def mean(self) -> Array:
        return self.total / self.count

    @property
    def covariance(self) -> Array:
        """Sample covariance (divided by count - 1); requires two vectors."""
        return (self.products - np.outer(self.total, self.mean)) / (self.count - 1)


@dataclass(frozen=True)
class Extrapolation:
    """A distance for infinitely many vectors, by a straight line over 1/n through distances of n vectors.

    Attributes:
      distance: the line's value at 1/n = 0.
      r2: share of the variance of the distances that the line explains, up to 1.
      points: number of vectors and their distance, by number.
    """

    distance: float
    r2: float
    points: tuple[tuple[int, float], ...]


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Return the Fréchet distance of two Gaussians: |m1 - m2|² + tr(C1 + C2 - 2 (C1^½ C2 C1^½)^½).

    For audio embeddings, this is the Fréchet audio distance (Kilgour et al., Interspeech 2019). The product
    has its symmetric form, whose eigenvalues are real and not negative even if a covariance is singular, for
    example with fewer vectors than dimensions.
    """
    variances, axes = np.linalg.eigh(one.covariance)
    root = (axes * np.sqrt(variances.clip(min=0))) @ axes.T
    product = root @ other.covariance @ root
    cross = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    difference = one.mean - other.mean
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return max(0.0, float(difference @ difference + traces - 2 * cross))


def extrapolate(groups: Sequence[Sums], other: Gaussian) -> Extrapolation | None:
    """Return the distance from `other` that a corpus would have with infinitely many vectors.

    A distance of n vectors is too large by an amount that falls as 1/n (Chong and Forsyth, "Effectively
    Unbiased FID and Inception Score", CVPR 2020). The sizes are those of 1, 2, ... all groups together, in
    several orders. So no vector occurs twice in a sample; a sample with replacement would extrapolate to the
    distance of the corpus itself.

    Args:
      groups: disjoint random parts of the corpus, of about the same size.
      other: the corpus to which the distance is.

    Returns:
      None if the corpus has fewer than 1,000 vectors, or fewer than ten groups have any, or if no sample is
      below three quarters of all, as with few clips.
    """
    groups = [group for group in groups if group.count]
    total = sum(group.count for group in groups)
    if total < 2 * MIN_VECTORS or len(groups) < MIN_GROUPS:
        return None
    points = []
    for order in range(_NUM_ORDERS):
        first = order * len(groups) // _NUM_ORDERS
        samples = list(accumulate([*groups[first:], *groups[:first]], Sums.__add__))
        large = [sums for sums in samples if sums.count >= MIN_VECTORS]
        # The last sample is the corpus in each order.
        points += [(sums.count, frechet_distance(other, sums)) for sums in large[: None if not order else -1]]
    counts, distances = np.array(sorted(points)).T
    if counts[0] > 0.75 * total:
        return None
    slope, distance = np.polyfit(1 / counts, distances, 1)
    errors = distances - (distance + slope / counts)
    spread = distances - distances.mean()
    r2 = 1 - float(errors @ errors) / float(spread @ spread) if spread.any() else 1.0
    return Extrapolation(float(distance), r2, tuple(sorted(points)))
