"""python -m pipeline.fit_pca --features=DIR --output=FILE.npz: fits PCA parameters to a corpus.

DIR contains raw embeddings, which `pipeline.run --postprocess=raw` writes. FILE has the layout of the
released `vggish_pca_params.npz`. With --quantization_quantile it also contains the quantization range, which
`pipeline.run --pca_params=FILE` then uses and records in its manifest.
"""

import dataclasses
import math
import sys
from collections.abc import Sequence

from pipeline.cli.commands import FIT_PCA
from pipeline.job.path_checks import check_output_file
from pipeline.job.runner import make_pipeline
from pipeline.process.main import run_main
from pipeline.statistics.passes import FrameFolder, check_analysis_installed, run_analyses
from transforms.clips import sha256_of
from transforms.errors import SettingError
from transforms.printable import say
from transforms.read_features import RAW
from transforms.storage.files import write_output
from transforms.vggish.pca import fit_pca
from transforms.vggish.postprocess import QuantizationRange, encode_pca_params

# Quantiles are computed at each thousandth, with an error of rank of at most a tenth of that.
_QUANTILES = 1000
_MAX_RANK_ERROR = 1e-4


def run(argv: Sequence[str]) -> int:
    """Fits the parameters, writes them, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, or PCA cannot be fitted to the frames.
      OutputError: the folder is damaged, or the output cannot be written.
    """
    options, beam_flags = FIT_PCA.parse(argv)
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
    quantiles = _QUANTILES, _MAX_RANK_ERROR
    (found,) = run_analyses(pipeline, [features.analysis(quantiles=quantiles)])
    moments = features.moments(found)
    try:
        params = fit_pca(moments.mean, moments.covariance, moments.count)
    except SettingError as error:
        raise SettingError(f"--features={features.path}: {error}") from error
    say(f"fitted to {moments.count:,} frames of {features.path}")
    if number is not None:
        # Leaves out `number` thousandths of all whitened values at each end.
        whitened = features.analysis(pca=params, quantiles=quantiles)
        (found,) = run_analyses(make_pipeline(beam_flags), [whitened])
        values = features.moments(found).quantiles[0]
        fitted = QuantizationRange(values[number - 1].item(), values[_QUANTILES - number - 1].item())
        params = dataclasses.replace(params, quantization=fitted)
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


if __name__ == "__main__":
    sys.exit(run_main("pipeline.fit_pca", lambda: run(sys.argv[1:])))
