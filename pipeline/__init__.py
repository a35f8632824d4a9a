"""What a person runs. Assembles the transforms, computes nothing itself."""

from pipeline.process.own_command import hold_signals

_command = hold_signals()

from pipeline.process.ending import catch_signals  # noqa: E402, imports that a signal may not end with a traceback

if _command:
    catch_signals(_command)

from pipeline.cli.console import import_tensorflow_quietly  # noqa: E402

import_tensorflow_quietly()
