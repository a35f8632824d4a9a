"""Prepares the process of a command before the command's imports, which take seconds."""

import gc
import importlib.metadata
import os
import signal
import sys
import tempfile

from pipeline.process.own_command import OF_TERMINAL

# The version of Beam whose private parts transforms/beam_internals.py uses.
BEAM_VERSION = "2.77"
_WITHOUT_TENSORFLOW = ("pipeline.verify", "pipeline.make_shards")


def start(command: str) -> None:
    """Prepares this process, or ends it with one line and status 2 if the machine lacks something."""
    _read_names_as_utf8()
    # Held until `catch_signals`, so that a signal during the imports does not print a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)
    _check_temporary_folder(command)
    _check_beam(command)
    from pipeline.cli.waiting import waiting_for
    from pipeline.process.early import answer_early
    from pipeline.process.ending import catch_signals
    from transforms.quiet_import import hide_messages

    catch_signals(command)
    module = answer_early(command)
    hide_messages()
    gc.disable()  # until `run_command`, since searches for garbage take half a second of the imports
    if module not in _WITHOUT_TENSORFLOW:
        with waiting_for("loading TensorFlow"):
            import transforms.frameworks  # noqa: F401  before another package imports TensorFlow


def _read_names_as_utf8() -> None:
    """Restarts the command in Python's UTF-8 mode if the locale does not decode file names as UTF-8.

    In a locale such as de_DE.ISO-8859-1, a file with a non-ASCII name would get a different id than
    elsewhere.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # keeps the terminal's encoding
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _check_temporary_folder(command: str) -> None:
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        sys.exit(_refuse(command, f"{error.strerror}; set TMPDIR to a folder that you can write"))


def _check_beam(command: str) -> None:
    version = importlib.metadata.version("apache-beam")
    if not version.startswith(f"{BEAM_VERSION}."):
        fix = f"pip install 'apache-beam[aws,gcp,hadoop]=={BEAM_VERSION}.*'"
        sys.exit(_refuse(command, f"needs apache-beam {BEAM_VERSION}, not {version}: {fix}"))


def _refuse(command: str, problem: str) -> int:
    sys.stderr.write(f"{command}: error: {problem}\n")
    return 2
