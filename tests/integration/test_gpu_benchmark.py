"""The benchmark of accelerators, on a machine with JAX alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_TENSORFLOW_AND_BEAM = """
import runpy, sys
sys.modules |= dict.fromkeys(["tensorflow", "apache_beam"])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_benchmark_runs_without_tensorflow_and_beam_and_its_bytes_agree(tmp_path):
    # On a CPU, XLA needs eight times as long per example in larger batches.
    flags = ["--batch_sizes", "1", "--precisions", "float32", "--files=1", "--seconds=0.1"]
    script = str(ROOT / "benchmarks" / "gpu.py")
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW_AND_BEAM, script, *flags, f"--results={tmp_path}"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert round(results["network_flop_per_example"] / 1e9, 2) == 1.73
    (run,) = results["runs"]
    fused = {"fused_16000_hz_int16", "fused_44100_hz_float32"}
    assert {"network", "end_to_end_wav", "end_to_end_flac"} | fused == run["examples_per_s"].keys()
    assert all(value > 0 for value in run["examples_per_s"].values())
    assert run["agreement_with_cpu"]["equal"] >= 0.999
    assert run["agreement_with_cpu"]["largest_difference"] <= 1
