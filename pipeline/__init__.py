"""The commands. This package combines the transforms; it computes no features itself."""

from pipeline.process.own_command import hold_signals
from pipeline.process.utf8 import check_temporary_folder, read_names_as_utf8

read_names_as_utf8()
_command = hold_signals()
check_temporary_folder()

# Before the other imports, so that a signal during them does not print a traceback.
from pipeline.process.ending import catch_signals  # noqa: E402

if _command:
    catch_signals(_command)

from pipeline.cli.console import import_tensorflow_quietly  # noqa: E402

import_tensorflow_quietly()
