"""Average precision, AUC and d-prime by their definitions."""

import csv
import math

import numpy as np
import pytest
from helpers import write_atomic
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scores import plot_curves, score_classes, write_by_class


def average_precision(truth, scores) -> float:
    """Mean over the positives of the precision among all clips that score as high."""
    precisions = [truth[scores >= score].mean() for score in scores[truth]]
    return float(np.mean(precisions))


def auc(truth, scores) -> float:
    """The chance that a positive scores higher than a negative."""
    differences = scores[truth][:, None] - scores[~truth][None, :]
    return float(np.mean((differences > 0) + 0.5 * (differences == 0)))


@given(
    arrays.arrays(bool, (12, 4)),
    arrays.arrays(np.float32, (12, 4), elements=st.integers(0, 6)),
)
@settings(max_examples=50)
def test_scores_are_those_of_their_definitions(labels, values):
    found = score_classes(labels, values, "abcd")
    usable = [place for place in range(4) if 0 < labels[:, place].sum() < 12]
    assert [score.name for score in found.classes] == ["abcd"[place] for place in usable]
    assert set(found.left_out) == set("abcd") - {score.name for score in found.classes}
    for place, score in zip(usable, found.classes, strict=True):
        truth, column = labels[:, place], values[:, place]
        assert score.positives == truth.sum()
        assert score.average_precision == pytest.approx(average_precision(truth, column), abs=1e-6)
        assert score.auc == pytest.approx(auc(truth, column), abs=1e-6)
        assert math.isfinite(score.d_prime) and (score.d_prime > 0) == (score.auc > 0.5)


def test_d_prime_is_how_far_two_normal_distributions_are_apart():
    rng = np.random.default_rng(0)
    truth = np.arange(40_000) % 2 == 0
    scores = rng.standard_normal(40_000) + 1.5 * truth
    found = score_classes(truth[:, None], scores[:, None], ["one"])
    assert found.classes[0].d_prime == pytest.approx(1.5, abs=0.03) == found.d_prime


def test_figures_and_curves_are_written(tmp_path):
    labels = np.eye(5, 3, dtype=bool)
    found = score_classes(labels, labels.astype(float), ["one", 'two, "2"', "three"])
    assert (found.mean_average_precision, found.auc, found.clips) == (1.0, 1.0, 5)
    assert math.isfinite(found.d_prime) and str(found).startswith("mAP 1.0000, AUC 1.0000, d-prime ")
    write_atomic(tmp_path / "by_class.csv", lambda path: write_by_class(found, path))
    with open(tmp_path / "by_class.csv", newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"one", 'two, "2"', "three"}
    write_atomic(
        tmp_path / "curves.png", lambda path: plot_curves({"loss": [3.0, 2.0], "mAP": [0.1, 0.2]}, path)
    )
    picture = (tmp_path / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000
