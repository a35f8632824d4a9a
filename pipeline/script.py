"""The script `audioset-beam`, which pip installs."""

import importlib
import sys

from pipeline.cli.script import SUBCOMMANDS
from pipeline.process.main import run_main


def main() -> int:
    """Runs the command that `answer_early` has found in the first argument."""
    module = SUBCOMMANDS[sys.argv[0].rpartition(" ")[2]]
    command = importlib.import_module(module)
    return run_main(module, lambda: command.run(sys.argv[1:]))
