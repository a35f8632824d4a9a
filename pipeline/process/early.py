"""Answers a mistake in the command line, and requests for text only, before the imports of a command."""

import sys
from collections.abc import Callable, Mapping, Sequence

from pipeline.cli.commands import COMMANDS
from pipeline.cli.console import run_command
from pipeline.cli.options import parse_options, print_early
from pipeline.process.ending import leave
from pipeline.process.streams import close_output, make_streams_patient

_RUN = "pipeline.run"
_PARSERS: Mapping[str, Callable[[Sequence[str]], object]] = {
    _RUN: parse_options,
    **{name: line.parse for name, line in COMMANDS.items()},
}


def answer_early(command: str, argv: Sequence[str]) -> None:
    """Ends this process if its command line is wrong, or only asks for text such as that of --help."""
    if command not in _PARSERS:
        return  # an example
    make_streams_patient()
    has_answered = False

    def answer() -> int:
        nonlocal has_answered
        has_answered = command == _RUN and print_early(argv)
        if not has_answered:
            _PARSERS[command](argv)
        return 0

    try:
        status = run_command(command, answer)
    except SystemExit as ended:  # from --help
        status, has_answered = int(ended.code or 0), True
    if status or has_answered:
        sys.exit(leave(close_output(command, status)))
