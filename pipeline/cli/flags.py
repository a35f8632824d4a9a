"""Command lines: mistakes are one line, and an unknown option names the nearest known one."""

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from transforms.errors import SettingError
from transforms.redact import (
    HIDDEN,
    remember_addresses,
    remember_option,
    shown_option,
    shown_text,
)
from transforms.secret_names import is_secret_option

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


class GivenOption(NamedTuple):
    """An option on a command line.

    Attributes:
      name: as it is given, without dashes.
      destination: the name that parsers store it under.
      value: text, a list of several, or None of a flag without a value.
    """

    name: str
    destination: str
    value: str | list[str] | None

    @property
    def shown(self) -> list[str]:
        """As a manifest or a screen may show it: NAME=VALUE, without secrets."""
        if self.value is None:
            return [f"--{self.name}"]
        values = [self.value] if isinstance(self.value, str) else self.value
        return [f"--{self.name}={shown_option(self.destination, value)}" for value in values]


def check_flags(flags: Sequence[str], add_own: AddOptions) -> None:
    """Checks that each flag is a command's own or Beam's, and has the secrets in them hidden from now on.

    Beam drops what it does not know with a warning, and a mistyped option would go unseen.

    Args:
      flags: the command line.
      add_own: adds the command's options to a parser.

    Raises:
      SettingError: one is neither.
    """
    given, unknown = parse_given(flags, add_own)
    own = argparse.ArgumentParser(add_help=False)
    add_own(own)
    own_names = {action.dest for action in own._actions}
    for option in given:
        if option.destination in own_names:
            remember_addresses(option.value)
        elif option.value is not None:
            remember_option(option.destination, option.value)
    parser = all_options(add_own)
    try:
        parser.parse_known_args(flags)
    except ValueError as error:  # where Beam reads JSON, and says no more
        raise SettingError(f"the value of one of Beam's options is no JSON ({error}); see --help") from error
    if unknown:
        name, dashes = unknown[0].split("=")[0], "--"
        if _is_for_secret(unknown[0], flags):
            raise SettingError(
                "a word that may be a secret belongs to no option, and is not shown; write --OPTION=VALUE "
                "without spaces"
            )
        raise SettingError(f"unknown option {name}{nearest(name, parser, dashes)}; see --help")


def _is_for_secret(word: str, flags: Sequence[str]) -> bool:
    """Whether a word that belongs to no option may be meant for the one before, as in `--password= WORD`."""
    places = [i for i, flag in enumerate(flags) if flag == word]
    before = [flags[i - 1].partition("=")[0] for i in places if i]
    return not word.startswith("-") and any(is_secret_option(option.lstrip("-")) for option in before)


def parse_given(flags: Sequence[str], add_own: AddOptions) -> tuple[list[GivenOption], list[str]]:
    """The options on a command line in order, as argparse finds them: with `=` or a space before the value.

    Returns:
      Them, and the words that belong to no option.

    Raises:
      SettingError: an option lacks its value, or has one that it does not take.
    """
    given = list[GivenOption]()

    class Note(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            value = None if self.nargs == 0 else values
            given.append(GivenOption((option_string or "").removeprefix("--"), self.dest, value))

    parser = OneLineParser(allow_abbrev=False, add_help=False)
    for action in all_options(add_own)._actions:
        parser.add_argument(*action.option_strings, dest=action.dest, action=Note, nargs=action.nargs)
    return given, parser.parse_known_args(flags)[1]


def nearest(name: str, parser: argparse.ArgumentParser, dashes: str) -> str:
    """A hint at the known option that is most like an unknown one, or nothing."""
    known = [option.removeprefix("--") for option in parser._option_string_actions]
    near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
    return f" (did you mean {dashes}{near[0]}?)" if near else ""


def shown_flags(flags: Sequence[str]) -> list[str]:
    """Beam's flags as --NAME=VALUE, as a manifest or a screen may show them: without anybody's secrets.

    They may be those of another version of Beam, which had other options.
    """
    try:
        given, unknown = parse_given(flags, lambda parser: None)
    except SettingError:
        return [HIDDEN]
    return [text for option in given for text in option.shown] + list(map(_shown_unknown, unknown))


def _shown_unknown(word: str) -> str:
    option, equals, value = word.partition("=")
    if not word.startswith("--"):  # it may belong to any option
        return HIDDEN
    return f"{option}={shown_option(option[2:], value)}" if equals else shown_text(option)
