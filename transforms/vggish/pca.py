"""Fits PCA with whitening to embeddings."""

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.vggish.postprocess import PcaParams

# Of a component's variance to the largest one's. Below it the rounding of float32 embeddings, 6e-8 of the
# largest values, would be more than a hundredth of the whitened component.
_MIN_VARIANCE = 1e-10
# Of a variance to the square of a mean: what rounding leaves of it in float64 sums, and tenfold.
_ROUNDING = 1e-14
_SHOWN = 5


def fit_pca(means: NDArray[np.float64], covariance: NDArray[np.float64], num_frames: int) -> PcaParams:
    """PCA with whitening, as the released parameters have it.

    Rows of the matrix are the covariance's eigenvectors, that of the largest variance first, each divided by
    its standard deviation: what comes out has variance 1 and no correlation. Of a vector and its opposite,
    which fit alike, that one is taken whose entry of the largest magnitude is positive.

    Args:
      means: float64[d].
      covariance: float64[d, d].
      num_frames: that they are of.

    Raises:
      SettingError: the frames vary in fewer than d directions, and a whitened component would be noise.
    """
    variances, axes = np.linalg.eigh(covariance)
    variances, components = variances[::-1], axes.T[::-1]
    least = max(_MIN_VARIANCE * variances[0], _ROUNDING * np.square(means).max())
    rank = int((variances > least).sum())
    if rank < len(means):
        dead = np.flatnonzero(np.diag(covariance) <= least)
        shown = ", ".join(map(str, dead[:_SHOWN])) + (", ..." if len(dead) > _SHOWN else "")
        why = f"; {len(dead)} dimensions never change ({shown})" if 0 < len(dead) < len(means) else ""
        raise SettingError(
            f"the {num_frames:,} frames vary in {rank} of {len(means)} directions{why}: PCA cannot whiten "
            "what does not vary; give a larger corpus, or one whose embeddings have no dead dimension"
        )
    strongest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    matrix = np.sign(strongest) * components / np.sqrt(variances)[:, None]
    return PcaParams(matrix, means.reshape(-1, 1))
