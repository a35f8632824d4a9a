"""Checks before a command's imports: file names are UTF-8, and there is a folder for temporary files."""

import os
import sys
import tempfile


def read_names_as_utf8() -> None:
    """Restarts the command in Python's UTF-8 mode if the locale does not decode file names as UTF-8.

    In a locale such as de_DE.ISO-8859-1, a file with a non-ASCII name would get a different id than
    elsewhere.
    """
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    is_command = name in ("-m", "audioset-beam")  # "-m": Python has not yet found the module to run
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1" or not is_command:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # keeps the terminal's encoding
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def check_temporary_folder() -> None:
    """Ends the process with one line if there is no folder for temporary files."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        sys.stderr.write(f"pipeline: error: {error.strerror}; set TMPDIR to a folder that you can write\n")
        sys.exit(2)
