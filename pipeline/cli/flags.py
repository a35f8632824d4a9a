"""Command lines: mistakes are one line, and an unknown option names the nearest known one."""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from transforms.errors import SettingError

_SECRET = re.compile(r"(.*(?:secret|token|password|access_key).*?)=.*", re.IGNORECASE | re.DOTALL)

AddOptions = Callable[[argparse.ArgumentParser], None]


class OneLineParser(_BeamArgumentParser):
    """An argument parser whose errors are one line, for `exit_on_setting_error`."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; see --help")


def all_options(add_own: AddOptions) -> OneLineParser:
    """A parser of a command's own options and all of Beam's."""
    parser = OneLineParser(allow_abbrev=False, add_help=False)
    add_own(parser)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)  # the hook that Beam documents for its subclasses
    return parser


def check_flags(flags: Sequence[str], add_own: AddOptions) -> None:
    """Checks that each flag is a command's own or Beam's.

    Beam drops what it does not know with a warning, and a mistyped option would go unseen.

    Args:
      flags: the command line.
      add_own: adds the command's options to a parser.

    Raises:
      SettingError: one is neither.
    """
    parser = all_options(add_own)
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        name, dashes = unknown[0].split("=")[0], "--"
        raise SettingError(f"unknown option {name}{nearest(name, parser, dashes)}; see --help")


def nearest(name: str, parser: argparse.ArgumentParser, dashes: str) -> str:
    """A hint at the known option that is most like an unknown one, or nothing."""
    known = [option.removeprefix("--") for option in parser._option_string_actions]
    near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
    return f" (did you mean {dashes}{near[0]}?)" if near else ""


def without_secrets(flags: Iterable[str]) -> list[str]:
    """Beam's flags as a manifest or a screen may show them: without keys to somebody's buckets."""
    return [_SECRET.sub(r"\1=(secret)", flag) for flag in flags]
