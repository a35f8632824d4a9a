"""Console output of a command: hides noise of libraries, and shows an error as one line."""

import gc
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO

from tqdm import tqdm

from transforms.errors import OutOfMemoryError, OutputError, SettingError
from transforms.printable import Attention, make_streams_printable, raw_stream, say
from transforms.quiet_import import is_verbose
from transforms.redact import remember_environment

# Errors that stop a run, and the pattern of their line in the traceback text that a runner raises.
_STOPPED: tuple[type[Exception], ...] = (SettingError, OutputError, OutOfMemoryError)
_NAMES = "|".join(kind.__name__ for kind in _STOPPED)
_STOPPED_TEXT = re.compile(
    rf"^transforms\.errors\.({_NAMES}): (.*?)(?: \[while running .*\])?$", re.MULTILINE
)
# Messages of Beam that appear on every machine and mean nothing.
_NOISE = (
    "Resource module is not available",  # PyTorch's
    "No semi_persistent_directory found",
    "Discarding unparseable args",  # by a worker; check_flags has already checked the command line
    "Really starting service",
    "Really destroying service",
    "Waiting for grpc channel to be ready",
    "Authentication failed using Compute Engine",  # Google's; a bucket that needs credentials reports it
)


def run_command(name: str, command: Callable[[], int]) -> int:
    """Runs a command, and prints an error of this project as one line on the error stream.

    Returns:
      The exit status: the command's, 2 for a `SettingError`, or 1 for an error that stopped it later.
    """
    # Some terminals accept only ASCII.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    remember_environment(os.environ)
    make_streams_printable()
    gc.freeze()  # imported modules stay, and a search for garbage in them takes a second at the end
    gc.enable()
    logging.basicConfig(handlers=[_LineHandler()], level=logging.INFO if is_verbose() else logging.WARNING)
    if not is_verbose():
        # A filter of a logger does not see its children's records.
        for handler in logging.getLogger().handlers:
            handler.addFilter(_is_relevant)
            handler.setLevel(logging.WARNING)  # some loggers of Beam set their own levels
    logging.getLogger("apache_beam.utils.retry").addFilter(_shorten_retry)
    try:
        return command()
    except _STOPPED as error:
        say(Attention(f"{name}: error: {error}"), file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Raises a worker's error again as its original type; runners raise only its text.

    Raises:
      OutputError, OutOfMemoryError: a worker raised it.
      SettingError: a worker raised it, since a file of the command changed after it was checked.
    """
    try:
        with redirect_stderr(_WithoutStopTracebacks(sys.stderr)):
            yield
    except Exception as error:
        # An error of this process has its type, but Beam appends to its message. Another process sends text.
        text = "".join(traceback.format_exception_only(error)) if isinstance(error, _STOPPED) else str(error)
        found = _STOPPED_TEXT.findall(text)
        if not found:
            raise
        name, message = found[-1]
        raise next(kind for kind in _STOPPED if kind.__name__ == name)(message) from error


def _is_relevant(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if record.exc_info:
        text += str(record.exc_info[1]) + "".join(traceback.format_exception(*record.exc_info))
    return not any(noise in text for noise in _NOISE) and not _has_stop(text)


def _has_stop(text: str) -> bool:
    """Returns whether a text is the traceback of an error that `unwrap_worker_errors` raises again."""
    return any(f"{kind.__module__}.{kind.__name__}: " in text for kind in _STOPPED)


class _LineHandler(logging.StreamHandler):
    """Writes log records above the live progress line, and draws that line again."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=raw_stream(self.stream)):
            super().emit(record)


class _WithoutStopTracebacks(io.TextIOBase):
    """The error stream during a run, without the tracebacks of `_STOPPED` errors in Beam's workers."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        if _has_stop(text):
            return len(text)
        with tqdm.external_write_mode(file=raw_stream(self._stream)):
            return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def _shorten_retry(record: logging.LogRecord) -> bool:
    """Removes the traceback from Beam's message before each retry."""
    record.msg, record.args = " ".join(record.getMessage().partition("Traceback for above")[0].split()), ()
    return True
