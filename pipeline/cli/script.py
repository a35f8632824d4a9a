"""The script `audioset-beam`: its first argument names one of the commands."""

import argparse
import difflib
import importlib.metadata
from collections.abc import Sequence

from pipeline.cli.commands import COMMANDS
from pipeline.cli.option_groups import add_run_options
from pipeline.cli.options import DESCRIPTION
from pipeline.cli.parser import SCRIPT, OneLineParser
from transforms.errors import SettingError
from transforms.printable import say

RUN = "pipeline.run"
# Name of each command -> its module.
SUBCOMMANDS = {
    module.rpartition(".")[2].removesuffix("_file").replace("_", "-"): module for module in (RUN, *COMMANDS)
}
_EPILOG = f"""\
examples:
  {SCRIPT} run --input='/data/clips/**' --output=/data/features
  {SCRIPT} verify /data/features
  {SCRIPT} run --help

`python -m pipeline.run` is the same as `{SCRIPT} run`, and likewise for the other commands.
"""


def choose_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the module of the command that the first argument names, and the other arguments.

    Raises:
      SettingError: there is no such command.
      SystemExit: the argument asks for text only, which is printed.
    """
    first = argv[0] if argv else ""
    if first in SUBCOMMANDS:
        return SUBCOMMANDS[first], list(argv[1:])
    if not first:
        raise SettingError(f"give a command: {', '.join(SUBCOMMANDS)}; see --help")
    if not first.startswith("-"):
        near = difflib.get_close_matches(first, SUBCOMMANDS, n=1)
        suggestion = f" (did you mean {near[0]}?)" if near else ""
        raise SettingError(f"unknown command {first!r}{suggestion}; see --help")
    parser = make_script_parser()
    if first.startswith("--") and first.partition("=")[0] not in parser._option_string_actions:
        raise SettingError(f"give a command first, such as {SCRIPT} run {first}; see --help")
    shell = parser.parse_args(argv).print_completion
    import shtab  # only this option needs it

    say(*shtab.complete(parser, shell).split("\n"))
    raise SystemExit(0)


def version_text() -> str:
    return f"{SCRIPT} {importlib.metadata.version(SCRIPT)}"


def make_script_parser() -> OneLineParser:
    """Returns the parser of all commands and their options."""
    parser = OneLineParser(
        prog=SCRIPT,
        usage="%(prog)s COMMAND [OPTION ...]",
        description="VGGish features of audio in the layout of the AudioSet release.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version_text())
    shells = ("bash", "zsh", "tcsh")
    parser.add_argument("--print_completion", choices=shells, help="print a completion script, and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module in SUBCOMMANDS.items():
        text = DESCRIPTION if module == RUN else COMMANDS[module].description
        own = commands.add_parser(name, help=text.partition(". ")[0].partition(": ")[0].removesuffix("."))
        (add_run_options if module == RUN else COMMANDS[module].add_options)(own)
    return parser
