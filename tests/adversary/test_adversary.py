"""Any sequence of runs and disturbances has the same result as one undisturbed run over all inputs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from machine import draw
from workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_sequences_hold(tmp_path):
    workspace = Workspace(tmp_path)
    try:
        draw(workspace, 5, 1, steps=2)
    finally:
        workspace.close()
    assert workspace.counts["sequences"] >= 5


@pytest.mark.integration
def test_a_hundred_sequences_hold():
    # Hypothesis also draws sequences that it does not count, because a rule cannot be applied.
    command = [sys.executable, "-m", "tests.adversary", "--sequences=82"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    (num_sequences,) = re.findall(r"(\d+) sequences", result.stdout.splitlines()[-2])
    assert int(num_sequences) >= 100
