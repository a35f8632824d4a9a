"""The model with too little memory: TensorFlow's allocator has a limit, and really runs out of memory."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.integration

EMBED = """
import logging, sys
import numpy as np
from transforms.errors import OutOfMemoryError
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder

logging.basicConfig(format="%(message)s")
try:
    embedder = Embedder(read_weights("random:0"), 512)
    examples = np.random.default_rng(0).uniform(-4, 4, (600, 96, 64)).astype(np.float32)
    np.save(sys.argv[1], embedder.embed(examples))
except OutOfMemoryError as error:
    print("OutOfMemoryError:", error)
"""


def embed(path, limit_mb: int) -> str:
    # Without oneDNN, whose kernels crash if an allocation fails. The limit applies to TensorFlow's allocator.
    environment = {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_CPU_ALLOCATOR_USE_BFC": "true",
        "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(limit_mb),
    }
    result = subprocess.run(
        [sys.executable, "-c", EMBED, str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(tmp_path):
    assert "out of memory" not in embed(tmp_path / "all.npy", 8_000)
    log = embed(tmp_path / "halved.npy", 700)
    assert "out of memory with 512 examples per batch: continuing with 256" in log
    assert "OutOfMemoryError" not in log
    expected, found = np.load(tmp_path / "all.npy"), np.load(tmp_path / "halved.npy")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
