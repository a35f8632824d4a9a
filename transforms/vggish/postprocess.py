"""Embeddings to the released bytes: PCA with whitening, clip, quantize to 8 bits."""

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
# Not in the released file, whose features have the released range.
QUANTIZATION_RANGE = "quantization_range"
_NEEDED = (EIGEN_VECTORS, MEANS, QUANTIZATION_RANGE)
# Eight times what the matrix takes in float64: enough to say what shape is wrong.
_MAX_ARRAY_BYTES = 1 << 20
_SHOWN = 10


@dataclass(frozen=True)
class QuantizationRange:
    """The values that the codes 0 and 255 stand for; what is beyond them is clipped.

    Attributes:
      low, high: by default the release's.

    Raises:
      ValueError: they are not two finite numbers, the lower one first.
    """

    low: float = QUANTIZE_MIN
    high: float = QUANTIZE_MAX

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"the range of quantization is {self.low} to {self.high}; it must ascend")

    @property
    def step(self) -> float:
        """From one code's value to the next one's."""
        return (self.high - self.low) / 255.0


RELEASED_RANGE = QuantizationRange()


@dataclass(frozen=True, eq=False)
class PcaParams:
    """PCA and whitening: `eigen_vectors @ (embedding - means)`; the whitening is inside the matrix.

    Attributes:
      eigen_vectors: float64[128, 128], one row a component.
      means: float64[128, 1].
      quantization: of what comes out.
    """

    eigen_vectors: NDArray[np.float64]
    means: NDArray[np.float64]
    quantization: QuantizationRange = RELEASED_RANGE


def read_pca_params(file: BinaryIO, name: str) -> PcaParams:
    """Reads `.npz` PCA parameters as released (`vggish_pca_params.npz`).

    Args:
      file: the opened file.
      name: what to call it in an error.

    Raises:
      SettingError: no `.npz`, or an array is missing, misshapen or not finite, or the range does not ascend.
    """
    try:
        with np.load(file, allow_pickle=False) as npz:
            names = list(npz.files)
            # No other array: it may unpack to anything.
            arrays = {key: _unpack(npz, key) for key in _NEEDED if key in names}
    except Exception as error:  # a damaged archive raises a dozen kinds
        raise SettingError(
            f"PCA parameters {name}: not an .npz file ({error}); give the released vggish_pca_params.npz"
        ) from error
    for key in (EIGEN_VECTORS, MEANS):
        if key not in names:
            raise SettingError(
                f"PCA parameters {name}: no array {key} (there are: {', '.join(names[:_SHOWN]) or 'none'}); "
                f"give an .npz with {EIGEN_VECTORS} and {MEANS}"
            )
    eigen_vectors = _array(arrays, EIGEN_VECTORS, [(EMBEDDING_SIZE, EMBEDDING_SIZE)], name)
    # The released means are flat; a column says the same.
    means = _array(arrays, MEANS, [(EMBEDDING_SIZE, 1), (EMBEDDING_SIZE,)], name)
    quantization = RELEASED_RANGE
    if QUANTIZATION_RANGE in arrays:
        low, high = _array(arrays, QUANTIZATION_RANGE, [(2,)], name).tolist()
        try:
            quantization = QuantizationRange(low, high)
        except ValueError as error:
            raise SettingError(f"PCA parameters {name}: {error}; fit it again") from error
    return PcaParams(eigen_vectors, means.reshape(EMBEDDING_SIZE, 1), quantization)


def _unpack(npz: np.lib.npyio.NpzFile, key: str) -> NDArray:
    """An array of an archive, if it is no larger than parameters can be.

    Raises:
      ValueError: it is larger, by its own header or by the archive's.
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
    """The inverse of `read_pca_params`: an `.npz` as released, and beside its arrays the range.

    The same parameters give the same bytes. The range is left out where it is the released one, so that
    the file then has the released arrays and no other.
    """
    # The released means are flat.
    arrays = {EIGEN_VECTORS: params.eigen_vectors, MEANS: params.means.reshape(EMBEDDING_SIZE)}
    if params.quantization != RELEASED_RANGE:
        arrays[QUANTIZATION_RANGE] = np.array([params.quantization.low, params.quantization.high])
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _array(
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
            f"PCA parameters {name}: {key} ({array.dtype}) is not all finite numbers; "
            "download or fit it again"
        )
    return array.astype(np.float64)


def apply_pca(embeddings: NDArray[np.floating], params: PcaParams) -> NDArray[np.float64]:
    """Rotates and whitens embeddings [n, 128], in float64 as the reference does."""
    return np.dot(params.eigen_vectors, embeddings.T - params.means).T


def quantize(
    values: NDArray[np.floating], quantization: QuantizationRange = RELEASED_RANGE
) -> NDArray[np.uint8]:
    """Clips to a range and maps it to 0 to 255, truncating (not rounding) as the release does."""
    low, high = quantization.low, quantization.high
    # Divided first, so that the upper end is 255 in any range; by the released one's 4 that rounds nothing.
    return ((np.clip(values, low, high) - low) / (high - low) * 255.0).astype(np.uint8)


def dequantize(
    codes: NDArray[np.uint8], quantization: QuantizationRange = RELEASED_RANGE
) -> NDArray[np.float32]:
    """The lower edge of each code's interval, so that `quantize(dequantize(c)) == c` up to rounding."""
    return (codes * quantization.step + quantization.low).astype(np.float32)


def postprocess(embeddings: NDArray[np.float32], params: PcaParams | None) -> NDArray[np.uint8]:
    """Embeddings float32[n, 128] to uint8[n, 128]; None leaves the PCA out, and has the released range."""
    if params is None:
        return quantize(embeddings.astype(np.float64))
    return quantize(apply_pca(embeddings, params), params.quantization)
