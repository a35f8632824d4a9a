import sys

import apache_beam as beam
import numpy as np
import pytest

if sys.version_info < (3, 11):
    pytest.skip("TensorFlow Transform needs Python 3.11 with this TensorFlow", allow_module_level=True)

from transforms.statistics import analyze_vectors
from transforms.statistics.analyze_vectors import AnalyzeVectors


def analyze(parts: list[np.ndarray], size: int, folder, **options) -> list:
    found = []
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        moments = pipeline | beam.Create(parts) | AnalyzeVectors(size, str(folder / "temp"), **options)
        moments | beam.Map(lambda m: m.to_json()) | beam.io.WriteToText(f"{folder}/out", num_shards=1)
    for path in folder.glob("out*"):
        found += [eval(line) for line in path.read_text().splitlines()]
    return found


def test_moments_equal_those_of_numpy_however_the_vectors_are_divided(tmp_path, monkeypatch):
    monkeypatch.setattr(analyze_vectors, "_BATCH_VALUES", 30)
    vectors = np.random.default_rng(0).integers(0, 256, (101, 3)).astype(np.float32)
    vectors[:9, 0], vectors[:5, 2] = 0, 255
    (found,) = analyze([vectors[:1], vectors[1:70], vectors[70:]], 3, tmp_path, num_buckets=4)
    assert found["count"] == 101
    np.testing.assert_allclose(found["mean"], vectors.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found["covariance"], np.cov(vectors.T.astype(np.float64)), rtol=1e-9)
    assert (
        found["minimum"] == vectors.min(axis=0).tolist() and found["maximum"] == vectors.max(axis=0).tolist()
    )
    assert found["at_0"] == (vectors == 0).sum(axis=0).tolist()
    assert found["at_255"] == (vectors == 255).sum(axis=0).tolist()
    quartiles = np.quantile(vectors, (0.25, 0.5, 0.75), axis=0).T
    np.testing.assert_allclose(found["quantiles"], quartiles, atol=4)


@pytest.mark.integration  # seconds
def test_without_vectors_there_are_no_moments(tmp_path):
    assert analyze([], 3, tmp_path) == []
