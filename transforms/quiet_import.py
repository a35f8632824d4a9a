"""Imports TensorFlow and Keras without their messages, for the processes whose error stream a user reads."""

import logging
import os
import sys
import tempfile
import warnings


def is_verbose() -> bool:
    """Return whether the command line has --verbose; TensorFlow prints before the options are parsed."""
    return "--verbose" in sys.argv


def import_frameworks_quietly() -> None:
    """Import TensorFlow without its messages about CPU features and absent GPUs, unless --verbose is given.

    C++ code prints them before any log level takes effect, so the error stream goes to a file during the
    import. If the import fails, the file's contents are shown. If TensorFlow is not installed, nothing
    happens: Keras has other backends.
    """
    # Each of Google's libraries warns many times that it will drop a Python version.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    if is_verbose():
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            from transforms import frameworks

            if hasattr(frameworks, "tf"):
                frameworks.tf.config.list_physical_devices()  # prints a message if there is no GPU
                frameworks.tf.get_logger().setLevel(logging.ERROR)
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
