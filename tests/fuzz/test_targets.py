"""Every fuzz target holds on its seeds and some mutations of them; `run.py` searches for longer."""

import pytest
from seeds import mutations, seeds
from targets import TARGETS

NUM_MUTATIONS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_on_seeds_and_mutations(name):
    files = seeds(name)
    for data in [b"", *files, *mutations(files, NUM_MUTATIONS)]:
        TARGETS[name](data)
