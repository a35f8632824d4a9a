import math
import os

import pytest
from folders import CODES, damage_flip, write_corpus

from pipeline.verification.compare import compare_folders
from pipeline.verification.process_pool import Processes
from pipeline.verify import verify_folder
from transforms.audioset.layout import Sharding
from transforms.errors import OutputError

INTEGRATION = pytest.mark.integration


@pytest.mark.parametrize("count, patience_s", [(1, 0.0), (2, 60.0), pytest.param(2, 0.0, marks=INTEGRATION)])
def test_processes_give_results_in_order(count, patience_s):
    with Processes(count, patience_s=patience_s) as processes:
        for tasks in (list(range(100)), [], [3]):
            assert list(processes.map(math.factorial, tasks)) == list(map(math.factorial, tasks))


@INTEGRATION
def test_a_process_that_is_killed_is_an_error_and_no_endless_wait():
    with Processes(2, patience_s=0) as processes, pytest.raises(OutputError, match="was killed"):
        list(processes.map(os._exit, [1, 1]))


@pytest.mark.integration
def test_processes_find_what_one_process_finds(tmp_path):
    one = write_corpus(tmp_path / "one")
    other = write_corpus(tmp_path / "other", 255 - CODES, Sharding(5), skip=(1,))
    damage_flip(one / "train" / "09.tfrecord")
    with Processes(
        2, ["pipeline.verification.check_folder", "pipeline.verification.compare"], patience_s=0
    ) as processes:
        found = [verify_folder(str(path), indexed=True, run_all=processes.map) for path in (one, other)]
        expected = [verify_folder(str(path), indexed=True) for path in (one, other)]
        assert [summary.problems for summary in found] == [summary.problems for summary in expected]
        indices = [summary.index for summary in found]
        assert compare_folders(*indices, processes.map) == compare_folders(*indices)
