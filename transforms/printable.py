r"""Escapes control characters in printed text, so that foreign text cannot control the terminal.

Names of files, ids, labels, hosts and messages of libraries may contain any character. If they were printed
unchanged, an escape sequence could move the cursor or set the window's title, a bidirectional override could
show `gpj.exe` as `exe.jpg`, and a lone surrogate (in a name that is not UTF-8) would end the command. Such
characters are escaped as in JSON: `\u001b`. All other text, of any script, stays as it is.
"""

import json
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from transforms.redact import shown_text

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u200b\u2060-\u2064\ufeff"  # zero width: names would look equal; emoji and Persian need U+200C, U+200D
    "\u2028\u2029"  # line separators
    "\u202a-\u202e\u2066-\u2069"  # reorder adjacent text: Unicode's UAX 9, explicit formatting
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated formatting, interlinear annotation
    "\ud800-\udfff"  # no stream can encode them
    "]"
)
_YELLOW, _RESET = "\x1b[33m", "\x1b[0m"
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"


def printable(text: str) -> str:
    """Escape a text for use in a line, newlines too; text that is already escaped does not change."""
    return _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Escape a text of several lines as `printable` does, but keep its newlines."""
    return "\n".join(map(printable, text.split("\n")))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON that is exact and safe to print: it escapes all that `printable` escapes."""
    return printable_lines(json.dumps(value, indent=indent, ensure_ascii=False))


class Attention(str):
    """A line that needs the reader's eye: `say` prints it in colour on a terminal."""


def say(*lines: object, file: TextIO | None = None, flush: bool = False) -> None:
    """Print one line per argument, escaped and without secrets; by default on the output stream."""
    file = sys.stdout if file is None else file
    if file is None:  # the descriptor was closed
        return
    texts = [printable(shown_text(str(line))) for line in lines]
    if not has_colours(file):
        print(*texts, sep="\n", file=file, flush=flush)
        return
    pairs = zip(lines, texts, strict=True)
    coloured = (f"{_YELLOW}{text}{_RESET}" if isinstance(line, Attention) else text for line, text in pairs)
    print(*coloured, sep="\n", file=raw_stream(file), flush=flush)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is an open terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def has_colours(stream: TextIO | None) -> bool:
    """Return whether to print colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return is_wanted and is_terminal(stream)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 shard", "2 shards"; `plural` is the noun with an "s" by default."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


class PrintableStream:
    """A text stream that hides secrets, and escapes all that `printable` escapes except newlines.

    It is for text that `say` does not print: tracebacks, warnings, logs and help. All other attributes are
    those of the stream that it replaces.

    Attributes:
      raw: the replaced stream, for output that moves the cursor on purpose, such as a progress bar.
    """

    def __init__(self, raw: TextIO):
        self.raw = raw

    def write(self, text: str) -> int:
        self.raw.write(printable_lines(shown_text(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def make_streams_printable() -> None:
    """Replace this process's output and error streams by `PrintableStream`s."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # None if the descriptor was closed.
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))


def raw_stream(stream: TextIO) -> TextIO:
    """Return the stream that a `PrintableStream` replaces; any other stream itself."""
    return stream.raw if isinstance(stream, PrintableStream) else stream
