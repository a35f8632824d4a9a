"""Runs of the pipeline in processes of their own, each forked from one that has the imports.

The network is a stand-in and the report is left out. All else is real: Beam's FnApiRunner, decoders in their
own process, files, the lock, and SIGKILL. The process that forks has run a pipeline once, and remembers what
Beam finds out about each function again and again, so that a run takes 1 s of a core in place of 1.7 s. The
rest is Beam's graph of 200 steps: made, translated and unpacked, 0.7 s, and the decoder's start.
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
# So many changes a run makes into an empty folder; 33 where all is there, 91 with --overwrite.
MOST_CHANGES = 75


class Kill(NamedTuple):
    """A moment of a run at which it kills itself, with SIGKILL, as if another process did.

    Attributes:
      word: of the path of a file in the output that is about to be created, renamed or deleted; "" is any.
      number: of the changes of such files, which one is not made any more.
      is_torn: a file that was to be renamed is cut to half first, as if it were not yet written whole.
    """

    word: str
    number: int
    is_torn: bool = False


class ForkServer:
    """Starts runs; several may be at work at once."""

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
                    "TF_NUM_INTRAOP_THREADS": "1",  # and so one decoder
                },
            )
        assert self._process.stdout.readline() == "ready\n", log.read_text()

    def start(self, argv: Sequence[str], said: Path, kill: Kill | None = None) -> int:
        """Starts `pipeline.run` with some options; returns its process id.

        Args:
          said: file for its two streams.
          kill: when it kills itself.
        """
        return self._ask({"argv": argv, "said": str(said), "kill": kill})

    def wait(self, pid: int) -> int:
        """Its exit status, or less the signal that ended it."""
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
    """Forks until there are no more lines; what to run, in a fork, and None in the process that forked."""
    import gc

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _make_ready()
    gc.freeze()  # a fork that looks for garbage copies what it looks at
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
    """Imports all modules, puts the stand-ins in place, and runs a pipeline once, which fills caches."""
    import tempfile

    import numpy as np
    from launcher import LOADED  # noqa: F401  what takes a while
    from sounds import write_noise

    from pipeline import report, run
    from pipeline.output import lock
    from transforms.embed_examples import VggishModelHandler

    class StandIn:
        """In place of the network: the mean and the deviation of each band of an example."""

        def embed_clips(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [np.concatenate([e.mean(1), e.std(1)], 1).astype(np.float32) for e in clips]

    VggishModelHandler.load_model = lambda handler: StandIn()
    report.write_report = lambda *_: None
    # A dead owner elsewhere is waited for, but not for a minute.
    lock.DEAD_S, lock._POLL_S = 0.2, 0.05
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder) / "audio" / "ab.wav", 1.0)
        flags = [f"--input={folder}/audio/*", f"--output={folder}/out", *RUN_FLAGS]
        assert run.run(flags) == 0
    assert threading.active_count() == 1, "a fork of several threads may hang"


# Beam's check of types takes a fifth of a small run.
RUN_FLAGS = [
    "--runner=FnApiRunner",
    "--no_pipeline_type_check",
    "--weights=random:0",
    "--pca_params=none",
    "--quiet",
    "--max_reject_fraction=0.4",
]


def _kill_at(kill: Kill, folder: str) -> None:
    """Has this process kill itself before some change of a file in a folder."""
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
    """The run, in a fork."""
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
