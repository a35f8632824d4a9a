"""Parsing of command lines: errors are one line, and unknown options get a suggestion.

Imports neither Beam nor TensorFlow, so that a mistake is reported at once.
"""

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.cli.beam_options import beam_options
from pipeline.cli.parser import AddOptions, OneLineParser
from pipeline.cli.runner_names import check_runner
from transforms.errors import SettingError
from transforms.redact import HIDDEN, remember_addresses, remember_option, shown_option, shown_text
from transforms.secret_names import is_secret_option


def all_options(add_own: AddOptions) -> OneLineParser:
    """Returns a parser of a command's own options and all of Beam's; it accepts any values of the latter."""
    parser = OneLineParser(allow_abbrev=False, add_help=False)
    add_own(parser)
    for option in beam_options():
        form: dict[str, Any] = {"action": "store_true"} if option.nargs == 0 else {"nargs": option.nargs}
        parser.add_argument(*option.names, dest=option.destination, **form)
    return parser


class GivenOption(NamedTuple):
    """An option on a command line.

    Attributes:
      name: the option as given, without dashes.
      destination: the attribute name that parsers store it under.
      value: text, a list of several texts, or None for a flag without a value.
    """

    name: str
    destination: str
    value: str | list[str] | None

    @property
    def words(self) -> list[str]:
        """The option as words of a command line."""
        if isinstance(self.value, list):
            return [f"--{self.name}", *self.value]
        return [f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"]

    @property
    def shown(self) -> list[str]:
        """The option as --NAME=VALUE without secrets, for manifests and messages."""
        if self.value is None:
            return [f"--{self.name}"]
        values = [self.value] if isinstance(self.value, str) else self.value
        return [f"--{self.name}={shown_option(self.destination, value)}" for value in values]


def check_flags(flags: Sequence[str], add_own: AddOptions) -> None:
    """Checks that each flag is an option of the command or of Beam, and registers its secrets for redaction.

    Beam itself only warns about an unknown option, so a mistyped option would stay unnoticed.

    Raises:
      SettingError: an option is unknown, or the runner is unknown or refused.
    """
    given, unknown = parse_given(flags, add_own)
    own = OneLineParser(add_help=False)
    add_own(own)
    own_names = {action.dest for action in own._actions}
    for option in given:
        if option.destination in own_names:
            remember_addresses(option.value)
        elif option.value is not None:
            remember_option(option.destination, option.value)
    if runners := [str(option.value) for option in given if option.destination == "runner"]:
        check_runner(runners[-1])  # the last one counts
    checked = {option.destination for option in beam_options() if option.is_checked}
    if checked & {option.destination for option in given}:
        from pipeline.cli.beam_values import parse_beam_flags  # imports Beam, which takes seconds

        parse_beam_flags(flags, add_own)
    if unknown:
        if _is_for_secret(unknown[0], flags):
            raise SettingError(
                "a word belongs to no option; it is not shown because it may be a secret; write "
                "--OPTION=VALUE without spaces"
            )
        name = unknown[0].split("=")[0]
        if not name.startswith("-"):
            remedy = f"for audio, write --input={name}; " if "input" in own_names else ""
            raise SettingError(f"unknown argument {name}; {remedy}see --help")
        raise SettingError(f"unknown option {name}{nearest(name, all_options(add_own), '--')}; see --help")


def _is_for_secret(word: str, flags: Sequence[str]) -> bool:
    """Returns whether a word without an option may be the secret of the one before: `--password= WORD`."""
    places = [i for i, flag in enumerate(flags) if flag == word]
    before = [flags[i - 1].partition("=")[0] for i in places if i]
    return not word.startswith("-") and any(is_secret_option(option.lstrip("-")) for option in before)


def parse_given(flags: Sequence[str], add_own: AddOptions) -> tuple[list[GivenOption], list[str]]:
    """Parses a command line as argparse does: with `=` or a space before each value.

    Returns:
      The options in order, and the words that belong to no option.

    Raises:
      SettingError: an option lacks its value, or has a value and takes none.
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


def join_words(argv: Sequence[str], add_own: AddOptions, option: str) -> list[str]:
    """Returns a command line in which the words that belong to no option are values of `option`."""
    given, unknown = parse_given(argv, add_own)
    words = [word for word in unknown if not word.startswith("-") and not _is_for_secret(word, argv)]
    if not words:
        return list(argv)
    others = [*(text for each in given for text in each.words), *(w for w in unknown if w not in words)]
    return [*others, *(f"{option}={word}" for word in words)]


def nearest(name: str, parser: argparse.ArgumentParser, dashes: str) -> str:
    """Returns a suggestion of the known option that is most similar to an unknown one, or an empty string."""
    known = [option.removeprefix("--") for option in parser._option_string_actions]
    near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
    return f" (did you mean {dashes}{near[0]}?)" if near else ""


def shown_flags(flags: Sequence[str]) -> list[str]:
    """Returns Beam's flags as --NAME=VALUE without secrets, for manifests and messages.

    The flags may be from another version of Beam, which had other options.
    """
    try:
        given, unknown = parse_given(flags, lambda parser: None)
    except SettingError:
        return [HIDDEN]
    return [text for option in given for text in option.shown] + list(map(_shown_unknown, unknown))


def _shown_unknown(word: str) -> str:
    option, equals, value = word.partition("=")
    if not word.startswith("--"):  # it may be the value of any option, so it may be a secret
        return HIDDEN
    return f"{option}={shown_option(option[2:], value)}" if equals else shown_text(option)
