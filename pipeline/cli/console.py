"""What a person sees of a command: no chatter, and one line for a mistake."""

import gc
import io
import logging
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

from tqdm import tqdm

from transforms.errors import OutOfMemoryError, OutputError, SettingError
from transforms.printable import make_streams_printable, raw_stream, say
from transforms.redact import remember_environment

# What stops a run in the middle, and how it stands in the traceback that a runner gives.
_STOPPED: tuple[type[Exception], ...] = (SettingError, OutputError, OutOfMemoryError)
_NAMES = "|".join(kind.__name__ for kind in _STOPPED)
_STOPPED_TEXT = re.compile(
    rf"^transforms\.errors\.({_NAMES}): (.*?)(?: \[while running .*\])?$", re.MULTILINE
)
# What Beam says on every machine, and nothing follows from.
_NO_NEWS = (
    "Resource module is not available",  # PyTorch's
    "No semi_persistent_directory found",
    "Discarding unparseable args",  # by a worker; those of a command are refused before
    "Really starting service",
    "Really destroying service",
    "Waiting for grpc channel to be ready",
    "Authentication failed using Compute Engine",  # Google's; a bucket that needs credentials says so itself
)


def run_command(name: str, command: Callable[[], int]) -> int:
    """Runs a command; an error of the project's own becomes one line on the error stream.

    The exit status is then 2 for a mistake in the command, and 1 for what stopped it later.

    Args:
      name: the command's, as `pipeline.run`.
      command: what to run; returns the exit status.
    """
    # A terminal may take ASCII only.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    remember_environment(os.environ)
    make_streams_printable()
    gc.freeze()  # what is imported stays: to look through it for garbage takes a second at the end
    logging.basicConfig(handlers=[_LineHandler()], level=logging.INFO if is_verbose() else logging.WARNING)
    if not is_verbose():
        for handler in logging.getLogger().handlers:  # a logger's own filter sees nothing of its children's
            handler.addFilter(_is_news)
            handler.setLevel(logging.WARNING)  # Beam has loggers with levels of their own
    logging.getLogger("apache_beam.utils.retry").addFilter(_without_traceback)
    try:
        return command()
    except (SettingError, OutputError, OutOfMemoryError) as error:
        say(f"{name}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Raises what stopped a worker as it was raised there; runners give no more than its text.

    Raises:
      OutputError, OutOfMemoryError: a worker raised it.
      SettingError: so too; a file that the command points at changed since it was checked.
    """
    try:
        with redirect_stderr(_WithoutStops(sys.stderr)):
            yield
    except Exception as error:
        # In this process it is still what it was, with Beam's words behind it; from another it is text.
        text = "".join(traceback.format_exception_only(error)) if isinstance(error, _STOPPED) else str(error)
        found = _STOPPED_TEXT.findall(text)
        if not found:
            raise
        name, message = found[-1]
        raise next(kind for kind in _STOPPED if kind.__name__ == name)(message) from error


def is_verbose() -> bool:
    """Whether the command line has --verbose: TensorFlow speaks before any option is read."""
    return "--verbose" in sys.argv


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow without the notes that it prints on CPU features and absent GPUs.

    They come from C++ before any log level is read, so for the import the error stream goes to a
    file, which is shown if the import fails. A machine without TensorFlow is left as it is: Keras has
    other backends.
    """
    # Google's libraries announce, many times each, when they will drop a Python version.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    if is_verbose():
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            with _lean_import():
                from transforms import frameworks

            if hasattr(frameworks, "tf"):
                frameworks.tf.config.list_physical_devices()  # looks for GPUs, and says so if there is none
                frameworks.tf.get_logger().setLevel(logging.ERROR)
        except BaseException:
            chatter.seek(0)
            os.write(kept, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def _lean_import() -> Iterator[None]:
    """Keeps TensorFlow and Keras from importing what nothing here uses, where it is installed.

    scikit-learn, IPython and JAX would take 0.17 GB of each worker process, and its first seconds.
    Matplotlib, and a search for garbage in what stays, would take a third of the time in which a command
    starts. What needs one of them imports it later.
    """
    names = {"IPython", "matplotlib", "sklearn"}
    if os.environ.get("KERAS_BACKEND", "jax") != "jax":  # unset, Keras's own file may name it
        names.add("jax")
    names -= sys.modules.keys()
    collects = gc.isenabled()
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: as if it were not there
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name in names:
            del sys.modules[name]


def _is_news(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if record.exc_info:
        text += str(record.exc_info[1]) + "".join(traceback.format_exception(*record.exc_info))
    return not any(said in text for said in _NO_NEWS) and not _tells_of_a_stop(text)


def _tells_of_a_stop(text: str) -> bool:
    """Whether a worker's traceback is of an error that `unwrap_worker_errors` says in a line."""
    return any(f"{kind.__module__}.{kind.__name__}: " in text for kind in _STOPPED)


class _LineHandler(logging.StreamHandler):
    """Writes above the live line of a run, which is drawn again."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=raw_stream(self.stream)):
            super().emit(record)


class _WithoutStops(io.TextIOBase):
    """An error stream for the time of a run: Beam's workers print there what they raise."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        if _tells_of_a_stop(text):
            return len(text)
        with tqdm.external_write_mode(file=raw_stream(self._stream)):
            return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def _without_traceback(record: logging.LogRecord) -> bool:
    """Shortens what Beam says before each further try."""
    record.msg, record.args = " ".join(record.getMessage().partition("Traceback for above")[0].split()), ()
    return True
