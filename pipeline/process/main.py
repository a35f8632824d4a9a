"""The frame of every command: what a process is set up with, and how it ends."""

from collections.abc import Callable

from pipeline.cli.console import run_command
from pipeline.process.ending import catch_signals, leave
from pipeline.process.streams import close_output, make_streams_patient
from pipeline.process.temporary import own_temporary_folder


def run_main(name: str, command: Callable[[], int]) -> int:
    """Runs a command as all that this process does.

    SIGINT, SIGTERM and SIGHUP end it with one line. Output that cannot be printed changes the exit status and
    nothing else. Temporary files are in a folder of their own.

    Args:
      name: the command's, as `pipeline.run`.
      command: what to run; returns the exit status.

    Returns:
      The exit status, for `sys.exit`.
    """

    def in_own_folder() -> int:
        with own_temporary_folder():
            return command()

    catch_signals(name)
    make_streams_patient()
    try:
        status = run_command(name, in_own_folder)
    except SystemExit as ended:  # by --help
        status = int(ended.code or 0)
    return leave(close_output(name, status))
