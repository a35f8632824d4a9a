"""python -m pipeline.fit_pca --features=DIR --output=FILE.npz: fits PCA parameters to a corpus.

DIR contains raw embeddings, which `pipeline.run --postprocess=raw` writes. FILE has the layout of the
released `vggish_pca_params.npz`. With --quantization_quantile it also contains the quantization range, which
`pipeline.run --pca_params=FILE` then uses and records in its manifest.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence

import apache_beam as beam

from pipeline.cli.flags import SHARED_TEMP_LOCATION, parse_command
from pipeline.job.path_checks import check_output_file
from pipeline.job.runner import make_pipeline
from pipeline.process.main import run_main
from pipeline.statistics.passes import FrameFolder, check_analysis_installed, run_analyses
from transforms.clips import sha256_of
from transforms.errors import OutputError, SettingError
from transforms.printable import say
from transforms.read_features import RAW, ReadFeatures
from transforms.statistics.moments import Moments
from transforms.storage.files import write_output
from transforms.storage.globs import plain_path
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.pca import fit_pca
from transforms.vggish.postprocess import PcaParams, QuantizationRange, encode_pca_params

# Quantiles are computed at each thousandth, with an error of rank of at most a tenth of that.
_QUANTILES = 1000
_MAX_RANK_ERROR = 1e-4


def run(argv: Sequence[str]) -> int:
    """Fits the parameters, writes them, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, or PCA cannot be fitted to the frames.
      OutputError: the folder is damaged, or the output cannot be written.
    """
    options, beam_flags = _parse_options(argv)
    check_analysis_installed()
    number = _check_quantile(options.quantization_quantile)
    pipeline = make_pipeline(beam_flags)
    check_output_file(options.output)
    features = FrameFolder.at(options.features)
    if features.kind != RAW:
        raise SettingError(
            f"--features={features.path}: contains {features.kind} frames, but PCA needs raw embeddings; "
            "give a folder that pipeline.run wrote with --postprocess=raw"
        )
    read = features.reader()
    moments = _moments(pipeline, read)
    try:
        params = fit_pca(moments.mean, moments.covariance, moments.count)
    except SettingError as error:
        raise SettingError(f"--features={features.path}: {error}") from error
    say(f"fitted to {moments.count:,} frames of {features.path}")
    if number is not None:
        params = dataclasses.replace(params, quantization=_fit_range(read, params, number, beam_flags))
    low, high = params.quantization.low, params.quantization.high
    say(f"quantization range {low:.4g} to {high:.4g}" + (", as in the release" if number is None else ""))
    data = encode_pca_params(params)
    write_output(options.output, data)
    say(f"written to {options.output}, for pipeline.run --pca_params (sha256 {sha256_of(data)[:8]}…)")
    return 0


def _check_quantile(quantile: float | None) -> int | None:
    """Returns `--quantization_quantile` in thousandths."""
    if quantile is None:
        return None
    number = round(quantile * _QUANTILES) if 0 < quantile < 0.5 else 0
    if not 1 <= number < _QUANTILES / 2 or not math.isclose(number, quantile * _QUANTILES):
        raise SettingError(
            f"--quantization_quantile={quantile}: give a multiple of 0.001 from 0.001 to 0.499"
        )
    return number


def _fit_range(
    read: ReadFeatures, params: PcaParams, number: int, beam_flags: Sequence[str]
) -> QuantizationRange:
    """Returns the range that leaves out `number` thousandths of all whitened values at each end."""
    quantiles = _moments(make_pipeline(beam_flags), read, params).quantiles[0]
    low, high = quantiles[number - 1].item(), quantiles[_QUANTILES - number - 1].item()
    return QuantizationRange(low, high)


def _moments(pipeline: beam.Pipeline, read: ReadFeatures, pca: PcaParams | None = None) -> Moments:
    """Returns the moments of the frames; with PCA, those of all values of the transformed frames together."""
    # TensorFlow Transform is in an extra; the command checks first that it is installed.
    from transforms.statistics.analyze_corpus import AnalyzeFeatures
    from transforms.statistics.analyze_vectors import AnalyzeVectors

    quantiles = (_QUANTILES, _MAX_RANK_ERROR)
    size = EMBEDDING_SIZE if pca is None else 1
    (found,) = run_analyses(
        pipeline, [lambda temp_dir: AnalyzeFeatures(read, AnalyzeVectors(size, temp_dir, *quantiles), pca)]
    )
    if found.moments is None:
        raise OutputError(f"{read.folder}: another program emptied it; run the same command again")
    return found.moments


def _parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    return parse_command(
        argv,
        _add_options,
        "python -m pipeline.fit_pca",
        "Fits PCA and whitening to the raw embeddings of a corpus, and writes them in the form of the "
        "released parameters. Needs the extra [analysis].",
        SHARED_TEMP_LOCATION,
        required=("features", "output"),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features",
        metavar="DIR",
        type=plain_path,
        help="folder that pipeline.run --postprocess=raw wrote (required)",
    )
    parser.add_argument("--output", metavar="FILE", type=plain_path, help=".npz file to write (required)")
    parser.add_argument(
        "--quantization_quantile",
        metavar="Q",
        type=float,
        help="also fit the quantization range: it leaves out this share of all values at each end, 0.001 to "
        "0.499; in the release the share is 0.09 (default: the release's range, -2 to 2)",
    )


if __name__ == "__main__":
    sys.exit(run_main("pipeline.fit_pca", lambda: run(sys.argv[1:])))
