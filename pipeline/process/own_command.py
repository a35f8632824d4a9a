"""Determines the command of this process, almost without imports."""

import os
import signal
import sys

# The terminal sends these to all processes of its group.
OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)


def own_command() -> str | None:
    """Returns the name of the command that this process runs; None in a program of another project."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python sets it until it finds the module, and imports the package before that
        words = iter(sys.orig_argv)
        for word in words:
            if word.startswith("-m"):
                module = word[2:] or next(words, "")
                return module if module.startswith("pipeline.") else None
        return None
    name, suffix = os.path.splitext(os.path.basename(program))
    if name == "audioset-beam":
        return name
    root = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 2))
    is_example = os.path.dirname(os.path.realpath(program)) == os.path.join(root, "examples")
    return name if suffix == ".py" and is_example else None
