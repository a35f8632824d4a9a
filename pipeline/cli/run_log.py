"""The log of a run: what happened and when, with levels."""

import functools
import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from transforms.printable import printable_lines
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
    """Passes records to a function; an error of the log does not end the run."""

    def __init__(self, write: Callable[[bytes], object]):
        super().__init__(logging.INFO)
        self._write = write
        self.setFormatter(_Format("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            self._write(f"{self.format(record)}\n".encode())


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
    handler = _Handler(functools.partial(_append, path) if is_local(path) else log.write)
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
            with suppress(*FILE_ERRORS):
                write_atomic(path, log.getvalue()[:_MAX_BYTES])


def _append(path: str, data: bytes) -> None:
    # Opened for each record: a filesystem with an open file cannot be unmounted, or mounted read-only.
    with open(path, "ab") as file:
        file.write(data)
