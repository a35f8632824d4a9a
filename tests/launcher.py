"""Starts commands without their slow imports: this process has imported everything, and forks per command.

It reads one line of JSON per command: {"command": the arguments of `python`, "environment": {name: value},
"output": [paths for the two streams, or none]}. It prints the process id of the command and, when the command
has ended, its wait status. The child process runs and ends in the same way as Python does.
"""

# ruff: noqa: E402

import gc
import json
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["AUDIOSET_BEAM_QUIET"] = "1"  # each command sets it
gc.disable()  # it would take a seventh of the time of the imports

import av
import matplotlib.backends.backend_svg
import numpy as np
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipeline.cli import progress_display
from pipeline.job import build_job, plan, summary
from pipeline.report import plots, write
from pipeline.statistics import tables
from pipeline.verification import compare
from transforms.frameworks import tf

# Commands import these modules, some of them late.
LOADED = [
    *(av, matplotlib.backends.backend_svg, tf, fn_runner),
    *(progress_display, build_job, plan, summary, plots, write, tables, compare),
]


def serve() -> dict[str, Any] | None:
    """Forks once per line; returns the command in a child process, and None in this process at the end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    plots.lengths(np.ones(1))  # the first figure takes longest
    gc.enable()
    gc.freeze()  # otherwise the garbage collector of a child process would copy all memory pages
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            answers.close()
            return json.loads(line)
        print(pid, file=answers, flush=True)
        _, status = os.waitpid(pid, 0)
        print(status, file=answers, flush=True)
    return None


def run(command: list[str], environment: dict[str, str], output: list[str]) -> None:
    """Runs the command in this process, as the leader of a new session."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(output, 1):
        # A terminal becomes that of the session only if it is opened for reading too.
        access = os.O_RDWR if path.startswith("/dev/") else os.O_WRONLY
        os.dup2(os.open(path, access | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
    os.environ.update(environment)
    tempfile.tempdir = None  # otherwise Python would ignore TMPDIR
    if command[0] == "-m":
        sys.argv = command[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path[0] = str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    given = serve()
    if given:
        run(**given)
