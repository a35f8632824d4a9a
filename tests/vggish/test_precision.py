import json
from pathlib import Path

import pytest

from transforms.vggish.precision import CHANGED_BYTES, FLOAT32, PRECISIONS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "model.json"


def test_every_precision_except_float32_states_its_changes():
    assert set(CHANGED_BYTES) == set(PRECISIONS) - {FLOAT32}


@pytest.mark.parametrize("precision", CHANGED_BYTES)
def test_the_stated_changes_are_those_that_the_benchmark_measured(precision):
    measured = json.loads(RESULTS.read_text())["changed_bytes"][precision]
    changed = CHANGED_BYTES[precision]
    assert (changed.fraction, changed.worst) == (round(measured["fraction"], 3), measured["worst"])
    assert changed.mean == round(measured["mean"], 2)
