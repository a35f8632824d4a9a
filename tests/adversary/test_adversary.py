"""Any sequence of runs and accidents ends as one undisturbed run over everything."""

import subprocess
import sys
from pathlib import Path

import pytest
from machine import Place, draw

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_sequences_hold(tmp_path):
    place = Place(tmp_path)
    try:
        draw(place, 5, 1, steps=2)
    finally:
        place.close()
    assert place.counts["sequences"] >= 5


@pytest.mark.integration
def test_a_hundred_sequences_hold():
    command = [sys.executable, "-m", "tests.adversary", "--sequences=100"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
