"""Checks the values of Beam's options with Beam's own parsers."""

import argparse
import json
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

from pipeline.cli.beam_options import BeamOption
from pipeline.cli.parser import AddOptions, OneLineParser
from transforms.errors import SettingError


class _Parser(OneLineParser, _BeamArgumentParser):
    """A parser to which Beam's groups of options add theirs."""


def parse_beam_flags(flags: Sequence[str], add_own: AddOptions = lambda parser: None) -> argparse.Namespace:
    """Returns the values of Beam's options as Beam parses them; `flags` may contain those of `add_own` too.

    Raises:
      SettingError: a value has the wrong form.
    """
    parser = beam_parser()
    add_own(parser)
    try:
        return parser.parse_known_args(flags)[0]
    except ValueError as error:  # from an option that Beam parses as JSON; Beam does not name the option
        raise SettingError(
            f"the value of one of Beam's options is not valid JSON ({error}); see --help"
        ) from error


def beam_options_json() -> str:
    """Returns the content of beam_options.json for the installed version of Beam."""
    rows = [
        BeamOption(tuple(action.option_strings), action.dest, action.nargs, _is_checked(action))
        for action in beam_parser()._actions
    ]
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


def _is_checked(action: argparse.Action) -> bool:
    """Returns whether Beam refuses some values of an option."""
    has_own_action = type(action).__module__ != "argparse"
    return action.nargs != 0 and (action.type not in (None, str) or bool(action.choices) or has_own_action)


def beam_parser() -> OneLineParser:
    """Returns a parser of Beam's options that checks their values."""
    parser = _Parser(allow_abbrev=False, add_help=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)  # the hook that Beam documents for its subclasses
    return parser
