"""The command fit_pca: its mistakes."""

import pytest
from test_analyze import byte_clips, needs_tft, raw_clips, refused, write_features

from pipeline import fit_pca


@needs_tft
@pytest.mark.parametrize(
    "flags, message",
    [
        (["--features=raw"], "--output is required, such as "),
        (["--output=p.npz"], "--features is required, such as "),
        (
            ["--features=bytes", "--output=p.npz"],
            "--features=bytes: contains quantized frames, but PCA needs raw",
        ),
        (
            ["--features=raw", "--output=p.npz", "--quantization_quantile=0.5"],
            "--quantization_quantile=0.5: give a multiple of 0.001 from 0.001 to 0.499",
        ),
        (
            ["--features=raw", "--output=p.npz", "--quantization_quantile=0.0005"],
            "--quantization_quantile=0.0005:",
        ),
        (["--features=raw", "--output=p.npz", "--quantization_quantile=nan"], "--quantization_quantile=nan:"),
    ],
)
def test_fit_pca_refuses_before_any_work(tmp_path, monkeypatch, capsys, flags, message):
    write_features(tmp_path / "bytes", byte_clips(0, 2))
    write_features(tmp_path / "raw", raw_clips(0, 2))
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, fit_pca, *flags).startswith(message)
    assert not (tmp_path / "p.npz").exists()
