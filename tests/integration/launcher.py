"""Starts `pipeline.run` again and again without its imports: a process that forks one for each command.

Reads a JSON list of arguments a line, answers the process id, then, when it has ended, its wait status.
What runs in the fork is the command itself; that a process is killed makes no difference to it.
"""

import json
import os
import sys

import keras
import matplotlib.pyplot  # noqa: F401, for the report
import tensorflow as tf

from pipeline import run
from pipeline.console import run_command
from transforms.vggish import model


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers.write(f"ready {keras.__version__} {tf.__version__} {model.__name__}\n")
    answers.flush()
    for line in sys.stdin:
        arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            os.setsid()
            os._exit(run_command("pipeline.run", lambda given=arguments: run.run(given)))
        answers.write(f"{pid}\n")
        answers.flush()
        _, status = os.waitpid(pid, 0)
        answers.write(f"{status}\n")
        answers.flush()


main()
