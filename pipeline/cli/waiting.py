"""Says on a terminal what a command waits for."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from transforms.printable import is_terminal, raw_stream

_CLEAR_LINE = "\r\x1b[K"


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Shows a line on the error stream until the context ends, if it is a terminal that can clear a line."""
    stream = raw_stream(sys.stderr)
    if not is_terminal(stream) or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    stream.write(f"{what} ...")
    stream.flush()
    try:
        yield
    finally:
        stream.write(_CLEAR_LINE)
        stream.flush()
