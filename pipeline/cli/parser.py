"""An argument parser whose errors are those of this project."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from transforms.errors import SettingError

# The script that pip installs.
SCRIPT = "audioset-beam"
# Adds a command's options to a parser.
AddOptions = Callable[[argparse.ArgumentParser], None]


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one-line `SettingError`s."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; see --help")


def required(options: Sequence[str], example: str) -> str:
    """Returns the message about required options that are missing."""
    *others, last = options
    names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{names} required, such as {example}; see --help"


def program_of(module: str) -> str:
    """Returns how the user started a command: `audioset-beam verify` or `python -m pipeline.verify`."""
    # `answer_early` joins the name of the script and that of the command.
    started = sys.argv[0] if sys.argv else ""
    return started if started.startswith(f"{SCRIPT} ") else f"python -m {module}"


def name_of(module: str) -> str:
    """Returns the name of a command in its messages: `audioset-beam verify` or `pipeline.verify`."""
    return program_of(module).removeprefix("python -m ")
