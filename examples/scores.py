"""Metrics of class scores (average precision, AUC, d-prime), and plots of learning curves."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist, fmean

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from transforms.printable import counted


@dataclass(frozen=True)
class ClassScore:
    """The metrics of one class."""

    name: str
    positives: int  # number of clips that have the class
    average_precision: float  # area under the precision-recall curve
    auc: float  # area under the ROC curve
    d_prime: float  # standard deviations between two normal distributions with this AUC, sqrt(2) Z(AUC)


@dataclass(frozen=True)
class Scores:
    """The metrics of all classes."""

    clips: int
    classes: tuple[ClassScore, ...]  # those that some clips have and some do not; others have no curve
    left_out: tuple[str, ...]  # names of the other classes

    @property
    def mean_average_precision(self) -> float:
        return fmean(score.average_precision for score in self.classes)

    @property
    def auc(self) -> float:
        """Mean over the classes."""
        return fmean(score.auc for score in self.classes)

    @property
    def d_prime(self) -> float:
        """d-prime of the mean AUC, as in papers on AudioSet."""
        return _d_prime(self.auc, 0.5 / self.clips**2)

    def __str__(self) -> str:
        return (
            f"mAP {self.mean_average_precision:.4f}, AUC {self.auc:.4f}, d-prime {self.d_prime:.3f} "
            f"({counted(self.clips, 'clip')}, {counted(len(self.classes), 'class', 'classes')}; "
            f"{len(self.left_out)} left out)"
        )

    def to_json(self) -> dict:
        names = ("mean_average_precision", "auc", "d_prime", "clips", "left_out")
        return {name: getattr(self, name) for name in names} | {"classes": len(self.classes)}


def score_classes(labels: NDArray, scores: NDArray, names: Sequence[str]) -> Scores:
    """Return the metrics of scores against labels.

    Args:
      labels: bool[n, classes].
      scores: float[n, classes], larger if a class is more likely.
      names: Names of the classes.
    """
    found, left_out = [], []
    for place, name in enumerate(names):
        truth, score = labels[:, place], scores[:, place]
        positives = int(truth.sum())
        if not 0 < positives < len(truth):
            left_out.append(name)
            continue
        average_precision = float(average_precision_score(truth, score))
        auc = float(roc_auc_score(truth, score))
        d_prime = _d_prime(auc, 0.5 / (positives * (len(truth) - positives)))
        found.append(ClassScore(name, positives, average_precision, auc, d_prime))
    return Scores(len(labels), tuple(found), tuple(left_out))


def _d_prime(auc: float, half_step: float) -> float:
    """Return d-prime of an AUC; an AUC of 0 or 1 is moved by half a step, since its d-prime is infinite."""
    return math.sqrt(2) * NormalDist().inv_cdf(min(max(auc, half_step), 1 - half_step))


def write_by_class(scores: Scores, path: Path) -> None:
    """Write a CSV of the classes, sorted from the highest average precision."""
    rows = [asdict(score) for score in sorted(scores.classes, key=lambda s: (-s.average_precision, s.name))]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(curves: dict[str, list[float]], path: Path) -> None:
    """Plot learning curves.

    Args:
      curves: Name -> value after each epoch; `loss` on the left, all others on the right.
      path: Path of the picture.
    """
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in curves.items():
        axes = left if name == "loss" else right
        axes.plot(np.arange(1, len(values) + 1), values, label=name)
    left.set_title("loss, training clips")
    right.set_title("mAP, held-out clips")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    if len(right.lines) > 1:
        right.legend()
    figure.savefig(path, dpi=80)
