"""Features of a file or a waveform in one call, without a pipeline.

    from pipeline.embed import embed

    embed("clip.wav")                        # uint8[n, 128], the release's bytes, one row per 0.96 s
    embed("clip.wav", postprocess="raw")     # float32[n, 128], before PCA

The function is here and not in `transforms.vggish` because it combines audio and model, which do not import
each other, and because only `pipeline` finds the released files.
"""

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.assets.resolve import find_pca_params, find_weights
from pipeline.cli.option_groups import QUANTIZED, RAW
from transforms.audio.decode import SpanReader, mono_blocks, open_audio
from transforms.audio.extraction import Extraction
from transforms.audio.paddings import REPEAT, ZEROS, Padding
from transforms.audio.resamplers import RESAMPY, Resampler
from transforms.audio.waveform import check_rate_hz, mono_waveform
from transforms.errors import ClipError, SettingError
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.params import Framing
from transforms.vggish.postprocess import PcaParams
from transforms.vggish.postprocess import postprocess as to_bytes
from transforms.vggish.precision import FLOAT32

if TYPE_CHECKING:
    from transforms.vggish.model import Embedder

# Smaller than in a pipeline, which fills its batches with several clips. A batch is padded: a clip of ten
# seconds takes four times as long with 64 as with 16, and hours of audio up to a third longer with 16
# (docs/performance.md).
_BATCH_SIZE = 16


def embed(
    audio: str | os.PathLike[str] | Any,
    rate_hz: float | None = None,
    *,
    postprocess: str = QUANTIZED,
    hop_s: float = Framing.hop_s,
    weights: str | None = None,
    pca_params: str | None = None,
    assets_dir: str | None = None,
    precision: str = FLOAT32,
    resampler: Resampler = RESAMPY,
    pad_short: Padding | None = None,
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Returns the VGGish features of a sound, equal to those that `pipeline.run` writes.

    The first call loads the model, and later calls use it again.

    Args:
      audio: path of a file of any format, on any filesystem that Beam supports; or a waveform, an array of
        [samples] or [samples, channels] as `transforms.audio.waveform.mono_waveform` accepts it: floats with
        full scale 1.0, or int16, int32 or uint8 as in files.
      rate_hz: sample rate of a waveform in Hz, required for a waveform; ignored for a file, which has its
        own.
      postprocess: "quantized", or "raw" for embeddings before PCA.
      hop_s: time from the start of one frame to the next, in seconds.
      weights, pca_params, assets_dir: same as the options of `pipeline.run`; None for the released files.
      precision, resampler, pad_short: same as the options of `pipeline.run`; without `pad_short`, audio
        shorter than 0.975 s is refused.

    Returns:
      uint8[n, 128], or raw float32[n, 128].

    Raises:
      SettingError: the file cannot be read or decoded, the waveform or its rate cannot be used, the audio is
        too short, the hop is not 0.01 to 3600 s, or weights or PCA parameters cannot be found.
    """
    if postprocess not in (QUANTIZED, RAW):
        raise SettingError(f"postprocess={postprocess!r}: give {QUANTIZED!r} or {RAW!r}")
    if pad_short not in (None, ZEROS, REPEAT):
        raise SettingError(f"pad_short={pad_short!r}: give None, {ZEROS!r} or {REPEAT!r}")
    try:
        framing = Framing(hop_s=hop_s)
    except ValueError as error:
        raise SettingError(str(error)) from error
    if isinstance(audio, (str, os.PathLike)):
        name = os.fspath(audio)
        waveform, file_rate_hz = read_waveform(name)
    else:
        name, file_rate_hz = "the waveform", check_rate_hz(rate_hz)
        waveform = mono_waveform(audio)
    try:
        extraction = Extraction(framing, resampler, padding=pad_short)
        examples = np.concatenate(list(extraction.examples([waveform], file_rate_hz)))
    except ClipError as error:
        raise SettingError(f"{name}: {error}; give other audio") from error
    embeddings = _embedder(weights, assets_dir, precision).embed(examples)
    if postprocess == RAW:
        return embeddings
    return to_bytes(embeddings, _pca(pca_params, assets_dir))


def read_waveform(path: str) -> tuple[NDArray[np.float64], int]:
    """Returns a file's mono waveform, float64[samples], full scale 1.0, and its sample rate in Hz.

    Raises:
      SettingError: the file cannot be read or decoded.
    """
    try:
        with open_file(path) as file, open_audio(file) as stream:
            return np.concatenate([np.empty(0), *SpanReader(mono_blocks(stream)).take()]), stream.rate_hz
    except (ClipError, *FILE_ERRORS) as error:
        cause = getattr(error, "strerror", None) or error
        raise SettingError(f"{path}: {cause}; give an audio file") from error


@functools.lru_cache(maxsize=2)
def _embedder(weights: str | None, assets_dir: str | None, precision: str) -> "Embedder":
    from transforms.vggish.model import Embedder  # importing Keras takes seconds

    return Embedder(read_weights(find_weights(weights, assets_dir).path), _BATCH_SIZE, precision)


@functools.lru_cache(maxsize=2)
def _pca(pca_params: str | None, assets_dir: str | None) -> PcaParams | None:
    return find_pca_params(pca_params, assets_dir)[0]
