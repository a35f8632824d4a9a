"""What a person sees of a command: no chatter, and one line for a mistake."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable

from transforms.errors import SettingError

# Beam says so wherever PyTorch is not installed, and nothing follows from it.
_NO_NEWS = "Resource module is not available"


def run_command(name: str, command: Callable[[], int]) -> int:
    """Runs a command; a SettingError becomes one line on the error stream and exit status 2.

    Args:
      name: the command's, as `pipeline.run`.
      command: what to run; returns the exit status.
    """
    logging.getLogger().addFilter(_is_news)
    try:
        return command()
    except SettingError as error:
        line = " ".join(str(error).split())
        print(f"{name}: error: {line}", file=sys.stderr)
        return 2


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without the notes that it prints on CPU features and absent GPUs.

    They come from C++ before any log level is read, so for the import the error stream goes to a
    file, which is shown if the import fails. A machine without TensorFlow is left as it is: Keras has
    other backends.
    """
    # Google's libraries announce, many times each, when they will drop a Python version.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so where there is none
            tf.get_logger().setLevel(logging.ERROR)
        except ModuleNotFoundError:
            pass
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NO_NEWS)
