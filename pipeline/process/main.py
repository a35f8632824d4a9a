"""The main function of every command: sets up the process and ends it."""

from collections.abc import Callable

from pipeline.cli.console import run_command
from pipeline.cli.parser import name_of
from pipeline.process.ending import catch_signals, leave
from pipeline.process.streams import close_output, make_streams_patient
from pipeline.process.temporary import own_temporary_folder


def run_main(module: str, command: Callable[[], int]) -> int:
    """Runs a command as the only work of this process, and returns its exit status, for `sys.exit`.

    SIGINT, SIGTERM and SIGHUP end it with one line. If output cannot be printed, only the exit status
    changes. Temporary files are in a separate folder.
    """

    def in_own_folder() -> int:
        with own_temporary_folder():
            return command()

    name = name_of(module)
    catch_signals(name)
    make_streams_patient()
    try:
        status = run_command(name, in_own_folder)
    except SystemExit as ended:  # from --help
        status = int(ended.code or 0)
    return leave(close_output(name, status))
