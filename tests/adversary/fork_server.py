"""Runs the pipeline in separate processes, each forked from one that has imported everything.

The network is replaced by a stand-in, decoder processes are forked too, and no report is written. Everything
else is real: Beam's FnApiRunner, files, the lock, and SIGKILL. The server has run a pipeline once, and caches
what Beam would compute again for each function. Most of the time of a run is Beam's graph of 200 steps, which
takes half a second to build, translate and unpack.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parents[1]
# Number of changes of a run into an empty folder; 33 if all clips exist already, 91 with --overwrite.
MOST_CHANGES = 75


class Kill(NamedTuple):
    """The moment at which a run sends SIGKILL to itself, as if another process did.

    Attributes:
      word: part of the path of the file in the output that the run would create, rename or delete next; ""
        matches any file.
      number: number of the change of such files, from 1, before which the run is killed.
      is_torn: whether a file to be renamed is first truncated to half its size, as if it were incomplete.
    """

    word: str
    number: int
    is_torn: bool = False


class ForkServer:
    """Starts runs; several may run at the same time."""

    def __init__(self, log: Path):
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=TESTS.parent,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}",
                    "TF_NUM_INTRAOP_THREADS": "1",  # so that a run starts one decoder
                },
            )
        assert self._process.stdout.readline() == "ready\n", log.read_text()

    def start(self, argv: Sequence[str], said: Path, kill: Kill | None = None) -> int:
        """Starts `pipeline.run` with some options; returns its process id.

        Args:
          said: file for its two streams.
          kill: when the run kills itself; None: never.
        """
        return self._ask({"argv": argv, "said": str(said), "kill": kill})

    def wait(self, pid: int) -> int:
        """Waits for a run; returns its exit status, or the negative number of the signal that ended it."""
        return os.waitstatus_to_exitcode(self._ask({"wait": pid}))

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: dict[str, Any]) -> int:
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def _serve() -> dict[str, Any] | None:
    """Forks once per run; returns its arguments in a child process, and None in this process at the end."""
    import gc

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _make_ready()
    gc.freeze()  # otherwise the garbage collector of a child process would copy all memory pages
    gc.disable()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            print(status, file=answers, flush=True)
            continue
        pid = os.fork()
        if not pid:
            answers.close()
            return question
        print(pid, file=answers, flush=True)
    return None


def _make_ready() -> None:
    """Imports all modules, installs the stand-ins, and runs a pipeline once to fill the caches."""
    import tempfile

    import pytest
    import quick_beam
    from decoder_server import fork_decoders
    from launcher import LOADED  # noqa: F401  imports all slow modules
    from sounds import write_noise
    from stand_in import StandIn

    from pipeline import report, run
    from pipeline.output import lock
    from transforms.embed_examples import VggishModelHandler

    VggishModelHandler.make_model = lambda handler: StandIn()
    report.write_report = lambda *_: None
    quick_beam.remember(pytest.MonkeyPatch())
    fork_decoders(pytest.MonkeyPatch())
    # A run waits for a dead owner on another machine, but here for less than a minute.
    lock.DEAD_S, lock._POLL_S = 0.2, 0.05
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder) / "audio" / "ab.wav", 1.0)
        flags = [f"--input={folder}/audio/*", f"--output={folder}/out", *RUN_FLAGS]
        assert run.run(flags) == 0
    assert threading.active_count() == 1, "a fork of several threads may hang"


# Beam's type checks take a fifth of the time of a small run.
RUN_FLAGS = [
    "--runner=FnApiRunner",
    "--no_pipeline_type_check",
    "--weights=random:0",
    "--pca_params=none",
    "--quiet",
    "--max_reject_fraction=0.4",
]


def _kill_at(kill: Kill, folder: str) -> None:
    """Lets this process kill itself before a given change of a file in a folder."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            is_change = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        else:
            is_change = event in ("os.rename", "os.remove", "os.link")
        if not is_change or not isinstance(arguments[0], str) or not arguments[0].startswith(folder):
            return
        path = arguments[1] if event in ("os.rename", "os.link") else arguments[0]
        if kill.word in path[len(folder) :]:
            count += 1
            if count == kill.number:
                if kill.is_torn and event == "os.rename":
                    with suppress(OSError):
                        os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _run(argv: list[str], said: str, kill: list | None) -> int:
    """Runs the pipeline in this child process."""
    from pipeline import run
    from pipeline.cli.console import run_command

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    sys.argv = ["pipeline.run", *argv]
    if kill:
        (output,) = (flag.partition("=")[2] for flag in argv if flag.startswith("--output="))
        _kill_at(Kill(*kill), output + "/")
    return run_command("pipeline.run", lambda: run.run(argv))


if __name__ == "__main__":
    given = _serve()
    if given:
        sys.exit(_run(**given))
