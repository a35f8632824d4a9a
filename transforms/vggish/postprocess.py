"""Embeddings to the released bytes: PCA with whitening, clip, quantize to 8 bits."""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.vggish.params import EMBEDDING_SIZE, QUANTIZE_MAX, QUANTIZE_MIN

EIGEN_VECTORS = "pca_eigen_vectors"
MEANS = "pca_means"


@dataclass(frozen=True, eq=False)
class PcaParams:
    """PCA and whitening: `eigen_vectors @ (embedding - means)`; the whitening is inside the matrix.

    Attributes:
      eigen_vectors: float64[128, 128], one row a component.
      means: float64[128, 1].
    """

    eigen_vectors: NDArray[np.float64]
    means: NDArray[np.float64]


def read_pca_params(file: BinaryIO, name: str) -> PcaParams:
    """Reads `.npz` PCA parameters as released (`vggish_pca_params.npz`).

    Args:
      file: the opened file.
      name: what to call it in an error.

    Raises:
      SettingError: no `.npz`, or an array is missing, misshapen or not finite.
    """
    try:
        with np.load(file, allow_pickle=False) as npz:
            arrays = {key: npz[key] for key in npz}
    except Exception as error:  # a damaged archive raises a dozen kinds
        raise SettingError(
            f"PCA parameters {name}: not an .npz file ({error}); give the released vggish_pca_params.npz"
        ) from error
    eigen_vectors = _array(arrays, EIGEN_VECTORS, [(EMBEDDING_SIZE, EMBEDDING_SIZE)], name)
    # The released means are a column; a flat vector says the same.
    means = _array(arrays, MEANS, [(EMBEDDING_SIZE, 1), (EMBEDDING_SIZE,)], name)
    return PcaParams(eigen_vectors, means.reshape(EMBEDDING_SIZE, 1))


def _array(
    arrays: dict[str, NDArray], key: str, shapes: list[tuple[int, ...]], name: str
) -> NDArray[np.float64]:
    if key not in arrays:
        raise SettingError(
            f"PCA parameters {name}: no array {key} (there are: {', '.join(arrays) or 'none'}); "
            f"give an .npz with {EIGEN_VECTORS} and {MEANS}"
        )
    array = arrays[key]
    if array.shape not in shapes:
        raise SettingError(
            f"PCA parameters {name}: {key} has shape {list(array.shape)}, not {list(shapes[0])}; "
            "give parameters fitted on 128-dimensional VGGish embeddings"
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise SettingError(
            f"PCA parameters {name}: {key} ({array.dtype}) is not all finite numbers; "
            "download or fit it again"
        )
    return array.astype(np.float64)


def apply_pca(embeddings: NDArray[np.floating], params: PcaParams) -> NDArray[np.float64]:
    """Rotates and whitens embeddings [n, 128], in float64 as the reference does."""
    return np.dot(params.eigen_vectors, embeddings.T - params.means).T


def quantize(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Clips to [-2, 2] and maps to 0 to 255, truncating (not rounding) as the release does."""
    clipped = np.clip(values, QUANTIZE_MIN, QUANTIZE_MAX)
    return ((clipped - QUANTIZE_MIN) * (255.0 / (QUANTIZE_MAX - QUANTIZE_MIN))).astype(np.uint8)


def dequantize(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The lower edge of each code's interval, so that `quantize(dequantize(c)) == c` up to rounding."""
    scale = (QUANTIZE_MAX - QUANTIZE_MIN) / 255.0
    return (codes * scale + QUANTIZE_MIN).astype(np.float32)


def postprocess(embeddings: NDArray[np.float32], params: PcaParams | None) -> NDArray[np.uint8]:
    """Embeddings float32[n, 128] to the release's uint8[n, 128]; None leaves the PCA out."""
    values = embeddings.astype(np.float64) if params is None else apply_pca(embeddings, params)
    return quantize(values)
