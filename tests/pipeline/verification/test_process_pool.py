import math
import os

import pytest

from pipeline.verification.process_pool import Processes
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
