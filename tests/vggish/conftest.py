import importlib.util

import numpy as np
import pytest


@pytest.fixture(scope="session")
def biased_weights(random_weights):
    """Random weights with random biases: those of `random:SEED` are zero, and would hide a mix-up."""
    rng = np.random.default_rng(1)
    return {
        name: 0.1 * rng.standard_normal(array.shape, np.float32) if name.endswith("biases") else array
        for name, array in random_weights.items()
    }


@pytest.fixture(scope="session")
def noise_examples():
    """float32[34, 96, 64], in the range of log-mel values."""
    return np.random.default_rng(2).uniform(-4.6, 4.0, (34, 96, 64)).astype(np.float32)


@pytest.fixture(scope="session")
def golden_weights(shared):
    """The weights with which the goldens were made."""
    path = shared / "tools" / "seeded_checkpoint.py"
    spec = importlib.util.spec_from_file_location("seeded_checkpoint", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.seeded_weights()


@pytest.fixture(scope="session")
def golden_embedder(golden_weights):
    from transforms.vggish.model import Embedder

    return Embedder(golden_weights, batch_size=8)
