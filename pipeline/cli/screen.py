"""What is printed while a command runs, by whomever, without secrets."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from transforms.redact import remember_environment, shown_text


@contextmanager
def shown_streams() -> Iterator[None]:
    """Hides secrets in all that is written to the output and the error stream, libraries' tracebacks too."""
    remember_environment(os.environ)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_ShownStream(stream) for stream in before)
    sys.excepthook = _print_traceback  # of what goes through here, printed when the streams are back
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(shown_text("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


class _ShownStream:
    """A stream that hides secrets; all but writing is the stream's own."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(shown_text(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
