"""The log of a run: what happened and when, with levels."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import BinaryIO

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
    """Writes records to an open file; an error of the log does not end the run."""

    def __init__(self, file: BinaryIO):
        super().__init__(logging.INFO)
        self._file = file
        self.setFormatter(_Format("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            self._file.write(f"{self.format(record)}\n".encode())
            self._file.flush()


@contextmanager
def run_log(path: str) -> Iterator[None]:
    """Writes the log records of this process to a file, in place of the log of the run before.

    On a disk each record appears at once, so a killed run leaves its log. Elsewhere the log appears when the
    context ends, with its first 16 MiB.
    """
    file = open(path, "wb") if is_local(path) else io.BytesIO()  # noqa: SIM115
    handler, root = _Handler(file), logging.getLogger()
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
        if isinstance(file, io.BytesIO):
            with suppress(*FILE_ERRORS):
                write_atomic(path, file.getvalue()[:_MAX_BYTES])
        with suppress(OSError):  # a full disk
            file.close()
