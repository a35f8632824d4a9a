"""What a command needs before its imports: names of files read as UTF-8, and a folder for temporary files."""

import os
import sys
import tempfile


def read_names_as_utf8() -> None:
    """Start the command again in Python's UTF-8 mode if names of files are not read as UTF-8.

    In a locale such as de_DE.ISO-8859-1, a file whose name is not ASCII would get another id than elsewhere.
    """
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    is_command = name in ("-m", "audioset-beam")  # "-m": Python still looks for the module that it will run
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1" or not is_command:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)  # keeps what the terminal accepts
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def check_temporary_folder() -> None:
    """End the process with one line if there is no folder for temporary files."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        sys.stderr.write(f"pipeline: error: {error.strerror}; set TMPDIR to a folder that you can write\n")
        sys.exit(2)
