"""Answers a mistake in the command line, and requests for text only, before the imports of a command."""

import sys
from collections.abc import Callable, Mapping, Sequence

from pipeline.cli.commands import COMMANDS
from pipeline.cli.console import run_command
from pipeline.cli.options import parse_options, print_early
from pipeline.cli.parser import SCRIPT, name_of
from pipeline.cli.script import RUN, choose_command, version_text
from pipeline.process.ending import leave
from pipeline.process.streams import close_output, make_streams_patient
from transforms.printable import say

_PARSERS: Mapping[str, Callable[[Sequence[str]], object]] = {
    RUN: parse_options,
    **{name: line.parse for name, line in COMMANDS.items()},
}


def answer_early(command: str) -> str:
    """Ends this process if its command line is wrong, or only asks for text such as that of --help.

    The first argument of the script `audioset-beam` moves to its name in `sys.argv`, so that the others are
    those of the command's module.

    Returns:
      The command's module.
    """
    if command != SCRIPT and command not in _PARSERS:
        return command  # an example
    make_streams_patient()
    has_answered, module = False, command

    def choose() -> int:
        nonlocal module
        module, argv = choose_command(sys.argv[1:])
        sys.argv = [f"{SCRIPT} {sys.argv[1]}", *argv]
        return 0

    def answer() -> int:
        nonlocal has_answered
        if sys.argv[1:] == ["--version"]:  # of the script too, but a command of its own is often asked
            say(version_text())
            has_answered = True
        else:
            has_answered = module == RUN and print_early(sys.argv[1:])
        if not has_answered:
            _PARSERS[module](sys.argv[1:])
        return 0

    try:
        status = run_command(name_of(SCRIPT), choose) if command == SCRIPT else 0
        status = status or run_command(name_of(module), answer)
    except SystemExit as ended:  # from --help
        status, has_answered = int(ended.code or 0), True
    if status or has_answered:
        sys.exit(leave(close_output(name_of(module), status)))
    return module
