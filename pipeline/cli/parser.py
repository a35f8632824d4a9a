"""An argument parser whose errors are those of this project."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from transforms.errors import SettingError

# Adds a command's options to a parser.
AddOptions = Callable[[argparse.ArgumentParser], None]


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one-line `SettingError`s."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; see --help")
