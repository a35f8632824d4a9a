"""Every fuzz target holds on its seeds and on some damage, so that none rots; `run.py` looks further."""

import pytest
from seeds import mutations, seeds
from targets import TARGETS

NUM_MUTATIONS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds(name):
    files = seeds(name)
    for data in [b"", *files, *mutations(files, NUM_MUTATIONS)]:
        TARGETS[name](data)
