"""How Beam's worker processes start; tests/integration/test_ends.py tests how they end."""

import subprocess
import sys

from transforms.worker_process import _ours


def test_beams_module_is_replaced_and_started_without_a_shell_in_between():
    command = _ours("python -m apache_beam.runners.worker.sdk_worker_main --id=1")
    assert command.endswith("exec python -m transforms.worker_process --id=1")


def test_a_worker_ignores_the_signals_of_the_terminal():
    code = (
        "import signal as s; print(*(s.getsignal(n) == s.SIG_IGN for n in (s.SIGINT, s.SIGHUP, s.SIGTERM)))"
    )
    command = _ours(f'{sys.executable} -c "{code}"')
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout == "True True False\n"
