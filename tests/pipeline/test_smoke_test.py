"""The smoke test finds what an installation computes wrong."""

import numpy as np
import pytest

from pipeline import smoke_test
from transforms.vggish.postprocess import PcaParams

pytestmark = pytest.mark.usefixtures("small_batches")

RANDOM = ["--weights=random:0", "--pca_params=none"]


def test_an_installation_that_works_is_good(capsys):
    assert smoke_test.run(RANDOM) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "weights: random:0 (random numbers, for a trial)"
    assert "examples: float32[3, 96, 64], finite" in lines and "embeddings: float32[3, 128], finite" in lines
    assert "pipeline: the record has the same bytes" in lines and lines[-1] == "Looks Good To Me"
    assert sum("not checked" in line for line in lines) == 2


def test_another_result_of_the_pipeline_fails(capsys, monkeypatch):
    def codes(weights: str, pca: PcaParams | None):
        return np.zeros((3, 128), np.uint8)

    monkeypatch.setattr(smoke_test, "_codes_by_pipeline", codes)
    assert smoke_test.run(RANDOM) == smoke_test.FAILED
    assert "failed: the pipeline's record differs" in capsys.readouterr().err


def test_values_that_are_wrong_are_named():
    with pytest.raises(smoke_test.SmokeTestError, match=r"x: the shape is \(2,\) instead of \(3,\)"):
        smoke_test._check_array("x", np.zeros(2), (3,))
    with pytest.raises(smoke_test.SmokeTestError, match="a value is not finite"):
        smoke_test._check_array("x", np.array([np.nan]), (1,))
    smoke_test._check_statistics("x", np.array([0.0, 2.0]), 1.05, 0.95)
    for mean, std in ((1.2, 1.0), (1.0, 1.2)):
        with pytest.raises(smoke_test.SmokeTestError, match="they differ by more than 10%"):
            smoke_test._check_statistics("x", np.array([0.0, 2.0]), mean, std)


def test_the_sine_has_the_frequency_of_the_reference():
    spectrum = np.abs(np.fft.rfft(smoke_test.sine(1.0)))
    assert spectrum.argmax() == 1_000 and len(smoke_test.sine()) == 48_000
