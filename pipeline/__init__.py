"""What a person runs. Assembles the transforms, computes nothing itself."""

import os
import sys
import tempfile


def _read_names_as_utf8() -> None:
    """Starts the command once more in Python's UTF-8 mode if names of files are not read as UTF-8.

    In a locale such as de_DE.ISO-8859-1, a file gives another id than elsewhere if its name is not ASCII.
    """
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    is_command = name in ("-m", "audioset-beam")  # "-m": Python looks for the module that it will run
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1" or not is_command:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # what the terminal takes stays
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


_read_names_as_utf8()
try:
    tempfile.gettempdir()
except FileNotFoundError as error:
    print(f"pipeline: error: {error.strerror}; set TMPDIR to a folder that you can write", file=sys.stderr)
    sys.exit(2)

from pipeline.cli.console import import_tensorflow_quietly  # noqa: E402 - it needs the above

import_tensorflow_quietly()
