"""The log of a run: what happened and when, with levels."""

import functools
import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from transforms.printable import Attention, printable_lines, say
from transforms.redact import shown_text
from transforms.storage.files import is_local, write_atomic
from transforms.storage.filesystems import FILE_ERRORS

# What the run says about itself; it does not appear on the screen.
RUN_LOG = logging.getLogger("audioset-beam")
RUN_LOG.propagate = False
RUN_LOG.addHandler(logging.NullHandler())
# Part of a log that is written to a bucket; a local one has no limit.
_MAX_BYTES = 1 << 24


class _Format(logging.Formatter):
    """One line per record, with the time in UTC, and a traceback below it; without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(shown_text(super().format(record)))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")


class _Handler(logging.Handler):
    """Passes records to a function. An error of the log does not end the run; the first one is a warning."""

    def __init__(self, path: str, write: Callable[[bytes], object]):
        super().__init__(logging.INFO)
        self._write = write
        self._path = path
        self._has_failed = False
        self.setFormatter(_Format("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(f"{self.format(record)}\n".encode())
        except (OSError, ValueError) as error:
            if not self._has_failed:
                self._has_failed = True
                _warn(self._path, error)


@contextmanager
def run_log(path: str) -> Iterator[None]:
    """Writes the log records of this process to a file, in place of the log of the run before.

    On a disk each record appears at once, so a killed run leaves its log. Elsewhere the log appears when the
    context ends, with its first 16 MiB.
    """
    log = io.BytesIO()
    if is_local(path):
        with suppress(OSError), open(path, "wb"):
            pass
    handler = _Handler(path, functools.partial(_append, path) if is_local(path) else log.write)
    root = logging.getLogger()
    level = root.level
    root.setLevel(min(level, logging.INFO))  # the handlers of the screen have levels of their own
    RUN_LOG.setLevel(logging.INFO)
    for logger in (root, RUN_LOG):
        logger.addHandler(handler)
    try:
        yield
    except Exception:
        RUN_LOG.exception("the run failed")
        raise
    finally:
        for logger in (root, RUN_LOG):
            logger.removeHandler(handler)
        root.setLevel(level)
        if not is_local(path):
            try:
                write_atomic(path, log.getvalue()[:_MAX_BYTES])
            except FILE_ERRORS as error:
                _warn(path, error)


def _warn(path: str, error: Exception) -> None:
    say(Attention(f"warning: {path}: the log cannot be written ({error}); the run goes on"), file=sys.stderr)


def _append(path: str, data: bytes) -> None:
    # Opened for each record: a filesystem with an open file cannot be unmounted, or mounted read-only.
    with open(path, "ab") as file:
        file.write(data)
