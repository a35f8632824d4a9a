"""Fits PCA with whitening to embeddings."""

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.printable import counted
from transforms.vggish.postprocess import PcaParams

# Minimum ratio of a component's variance to the largest one. Below it, the rounding of float32 embeddings
# (6e-8 of the largest values) would be more than a hundredth of the whitened component.
_MIN_VARIANCE = 1e-10
# Minimum ratio of a variance to the square of a mean: ten times the rounding error of float64 sums.
_ROUNDING = 1e-14
_MAX_LISTED = 5


def fit_pca(means: NDArray[np.float64], covariance: NDArray[np.float64], num_frames: int) -> PcaParams:
    """Fit PCA with whitening, in the form of the released parameters.

    The rows of the matrix are the covariance's eigenvectors in descending order of variance, each divided by
    its standard deviation. The output has variance 1 and no correlation. The sign of an eigenvector is
    arbitrary; it is chosen so that the entry with the largest magnitude is positive.

    Args:
      means: float64[d].
      covariance: float64[d, d].
      num_frames: number of frames that the moments were computed from.

    Raises:
      SettingError: the frames vary in fewer than d directions, so a whitened component would be noise.
    """
    variances, axes = np.linalg.eigh(covariance)
    variances, components = variances[::-1], axes.T[::-1]
    least = max(_MIN_VARIANCE * variances[0], _ROUNDING * np.square(means).max())
    rank = int((variances > least).sum())
    if rank < len(means):
        constant = np.flatnonzero(np.diag(covariance) <= least)
        listed = ", ".join(map(str, constant[:_MAX_LISTED]))
        more = ", ..." if len(constant) > _MAX_LISTED else ""
        never_change = counted(len(constant), "dimension never changes", "dimensions never change")
        cause = f"; {never_change} ({listed}{more})" if 0 < len(constant) < len(means) else ""
        frames_vary = counted(num_frames, "frame varies", "frames vary")
        raise SettingError(
            f"the {frames_vary} in {rank} of {len(means)} directions{cause}: PCA cannot whiten "
            "a constant direction; give a larger corpus, or one whose embeddings have no constant dimension"
        )
    strongest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    matrix = np.sign(strongest) * components / np.sqrt(variances)[:, None]
    return PcaParams(matrix, means.reshape(-1, 1))
