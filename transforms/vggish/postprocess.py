"""Converts embeddings to the released bytes: PCA with whitening, clipping, quantization to 8 bits."""

import io
import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.errors import SettingError
from transforms.vggish.params import EMBEDDING_SIZE, QUANTIZE_MAX, QUANTIZE_MIN

EIGEN_VECTORS = "pca_eigen_vectors"
MEANS = "pca_means"
# Not in the released file, which implies the released range.
QUANTIZATION_RANGE = "quantization_range"
_ARRAYS = (EIGEN_VECTORS, MEANS, QUANTIZATION_RANGE)
# Eight times the size of the matrix in float64: large enough to read and report an array of a wrong shape.
_MAX_ARRAY_BYTES = 1 << 20
_MAX_LISTED = 10


@dataclass(frozen=True)
class QuantizationRange:
    """The values of the codes 0 and 255; values outside are clipped.

    Attributes:
      low, high: the range; by default the release's.

    Raises:
      ValueError: the bounds are not finite and ascending.
    """

    low: float = QUANTIZE_MIN
    high: float = QUANTIZE_MAX

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"the quantization range is {self.low} to {self.high}; it must ascend")

    @property
    def step(self) -> float:
        """Difference between the values of consecutive codes."""
        return (self.high - self.low) / 255.0


RELEASED_RANGE = QuantizationRange()


@dataclass(frozen=True, eq=False)
class PcaParams:
    """PCA and whitening: `eigen_vectors @ (embedding - means)`; the matrix includes the whitening.

    Attributes:
      eigen_vectors: float64[128, 128], one row per component.
      means: float64[128, 1].
      quantization: range of the output's quantization.
    """

    eigen_vectors: NDArray[np.float64]
    means: NDArray[np.float64]
    quantization: QuantizationRange = RELEASED_RANGE


def read_pca_params(file: BinaryIO, name: str) -> PcaParams:
    """Read `.npz` PCA parameters in the form of the released `vggish_pca_params.npz`; `name` is for messages.

    Raises:
      SettingError: it is not an `.npz`; an array is missing, not finite or has another shape; or the range
        does not ascend.
    """
    try:
        with np.load(file, allow_pickle=False) as npz:
            names = list(npz.files)
            # Other arrays are not read: they may decompress to any size.
            arrays = {key: _read_array(npz, key) for key in _ARRAYS if key in names}
    except Exception as error:  # a damaged archive raises many types of errors
        raise SettingError(
            f"PCA parameters {name}: not an .npz file ({error}); give the released vggish_pca_params.npz"
        ) from error
    for key in (EIGEN_VECTORS, MEANS):
        if key not in names:
            raise SettingError(
                f"PCA parameters {name}: no array {key} (it has {', '.join(names[:_MAX_LISTED]) or 'none'}); "
                f"give an .npz with {EIGEN_VECTORS} and {MEANS}"
            )
    eigen_vectors = _check_array(arrays, EIGEN_VECTORS, [(EMBEDDING_SIZE, EMBEDDING_SIZE)], name)
    # The released means are a vector; a column is accepted too.
    means = _check_array(arrays, MEANS, [(EMBEDDING_SIZE, 1), (EMBEDDING_SIZE,)], name)
    quantization = RELEASED_RANGE
    if QUANTIZATION_RANGE in arrays:
        low, high = _check_array(arrays, QUANTIZATION_RANGE, [(2,)], name).tolist()
        try:
            quantization = QuantizationRange(low, high)
        except ValueError as error:
            raise SettingError(f"PCA parameters {name}: {error}; fit it again") from error
    return PcaParams(eigen_vectors, means.reshape(EMBEDDING_SIZE, 1), quantization)


def _read_array(npz: np.lib.npyio.NpzFile, key: str) -> NDArray:
    """Read an array of an archive after a check of its size.

    Raises:
      ValueError: it is too large according to its header or to the archive's.
    """
    archive = npz.zip
    assert archive is not None  # it is open
    member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(file)
    size = max(math.prod(shape) * dtype.itemsize, archive.getinfo(member).file_size)
    if size > _MAX_ARRAY_BYTES:
        raise ValueError(f"{key} has shape {list(shape)} and takes {size:,} bytes")
    return npz[key]


def encode_pca_params(params: PcaParams) -> bytes:
    """Encode parameters as an `.npz` that `read_pca_params` reads: the released arrays and the range.

    The same parameters give the same bytes. The released range is omitted, so that such a file has exactly
    the arrays of the released one.
    """
    # The released means are a vector.
    arrays = {EIGEN_VECTORS: params.eigen_vectors, MEANS: params.means.reshape(EMBEDDING_SIZE)}
    if params.quantization != RELEASED_RANGE:
        arrays[QUANTIZATION_RANGE] = np.array([params.quantization.low, params.quantization.high])
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _check_array(
    arrays: dict[str, NDArray], key: str, shapes: list[tuple[int, ...]], name: str
) -> NDArray[np.float64]:
    array = arrays[key]
    if array.shape not in shapes:
        raise SettingError(
            f"PCA parameters {name}: {key} has shape {list(array.shape)}, not {list(shapes[0])}; "
            "give parameters fitted on 128-dimensional VGGish embeddings"
        )
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise SettingError(
            f"PCA parameters {name}: {key} ({array.dtype}) has values that are not finite numbers; "
            "download or fit it again"
        )
    return array.astype(np.float64)


def apply_pca(embeddings: NDArray[np.floating], params: PcaParams) -> NDArray[np.float64]:
    """Rotate and whiten embeddings [n, 128], in float64 like the reference."""
    return np.dot(params.eigen_vectors, embeddings.T - params.means).T


def quantize(
    values: NDArray[np.floating], quantization: QuantizationRange = RELEASED_RANGE
) -> NDArray[np.uint8]:
    """Clip to a range and map it to 0..255, truncating (not rounding) like the release."""
    low, high = quantization.low, quantization.high
    # The division comes first, so that the upper end is 255 in any range. For the released range it is a
    # division by 4, which is exact.
    return ((np.clip(values, low, high) - low) / (high - low) * 255.0).astype(np.uint8)


def dequantize(
    codes: NDArray[np.uint8], quantization: QuantizationRange = RELEASED_RANGE
) -> NDArray[np.float32]:
    """Return the lower end of each code's interval, so that `quantize(dequantize(c)) == c` up to rounding."""
    return (codes * quantization.step + quantization.low).astype(np.float32)


def postprocess(embeddings: NDArray[np.float32], params: PcaParams | None) -> NDArray[np.uint8]:
    """Convert embeddings float32[n, 128] to uint8[n, 128]; None skips the PCA and uses the released range."""
    if params is None:
        return quantize(embeddings.astype(np.float64))
    return quantize(apply_pca(embeddings, params), params.quantization)
