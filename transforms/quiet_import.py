"""Hides the messages of TensorFlow's import in the processes whose error stream a user reads."""

import faulthandler
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Set in a command and in all processes that it starts; `transforms.frameworks` reads it.
_VARIABLE = "AUDIOSET_BEAM_QUIET"


def is_verbose() -> bool:
    """Return whether the command line has --verbose; TensorFlow prints before the options are parsed."""
    return "--verbose" in sys.argv


def hide_messages() -> None:
    """Hide the messages of imports in this process and in those that it starts, unless --verbose is given."""
    # Each of Google's libraries warns many times that it will drop a Python version.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    if not is_verbose():
        os.environ[_VARIABLE] = "1"


def hides_messages() -> bool:
    return _VARIABLE in os.environ


@contextmanager
def hidden_messages() -> Iterator[None]:
    """Catch the error stream, after `hide_messages`, and show what was caught if the context fails.

    C++ code prints messages about CPU features and absent GPUs before any log level takes effect. If it
    crashes, such as TensorFlow and PyTorch together, only the place is shown.
    """
    if not hides_messages():
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    shows_crashes = faulthandler.is_enabled()
    faulthandler.enable(stderr, all_threads=False)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            (faulthandler.enable if shows_crashes else faulthandler.disable)()
            os.close(stderr)
