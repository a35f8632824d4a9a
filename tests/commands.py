"""Runs the project's commands as a user types them, in processes that can be killed."""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Launcher:
    """A process that forks a child process for each command; see launcher.py.

    Args:
      log: file for the output of this process, and of commands that have no other file.
    """

    def __init__(self, log: Path | str = os.devnull):
        with open(log, "w") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("launcher.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._answer() == "ready\n"

    def start(self, *command: str, output: Sequence[Path] = (), **environment: str) -> int:
        """Starts what `python` would run; returns its process id, which is also the id of its session.

        Args:
          command: as for `run_command`.
          output: files for its two streams; without them, the output goes to the log.
          environment: variables to set in addition to those of the launcher.
        """
        given = {"command": command, "environment": environment, "output": [str(path) for path in output]}
        print(json.dumps(given), file=self._process.stdin, flush=True)
        return int(self._answer())

    def wait(self) -> int:
        """Waits for the command; returns its exit status, or the negative number of its signal."""
        return os.waitstatus_to_exitcode(int(self._answer()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self) -> str:
        return self._process.stdout.readline()


def run_python(*command: str, timeout_s: float = 900, **environment: str) -> subprocess.CompletedProcess:
    """Does the same as `run_command` in a new Python process, to include the start of the command."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def run_command(*command: str, timeout_s: float = 900, **environment: str) -> subprocess.CompletedProcess:
    """Runs what `python` would run to its end, in the project's root folder.

    Args:
      command: `-m` and a module, or a script; then the arguments.
      timeout_s: seconds after which the command and its child processes are killed.
      environment: variables to set in addition to those of the tests.
    """
    launcher = shared_launcher()
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder) / "out", Path(folder) / "err"
        pid = launcher.start(*command, output=streams, **environment)
        timer = threading.Timer(timeout_s, _kill, [pid])
        timer.start()
        status = launcher.wait()
        timer.cancel()
        out, err = (stream.read_text() if stream.exists() else "" for stream in streams)
    return subprocess.CompletedProcess(command, status, out, err)


@functools.cache
def shared_launcher() -> Launcher:
    """Returns the launcher that `run_command` uses."""
    launcher = Launcher()
    atexit.register(launcher.close)
    return launcher


def _kill(session: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
