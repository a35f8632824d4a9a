r"""Text of others on a screen: shown whole, on one line, and never obeyed by a terminal.

Names of files, ids, labels, hosts and what libraries say of them may hold anything. Printed as they are, an
escape sequence moves the cursor or sets the window's title, a bidirectional override shows `gpj.exe` as
`exe.jpg`, and a lone surrogate (a name that is not UTF-8) ends the command. Here they are escaped as in JSON:
`\u001b`. All other text, of any script, stays as it is.
"""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from transforms.redact import shown_text

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u200b\u2060-\u2064\ufeff"  # no width: two names that look alike; emoji and Persian need U+200C, U+200D
    "\u2028\u2029"  # end a line
    "\u202a-\u202e\u2066-\u2069"  # reorder what stands beside them: Unicode's UAX 9, explicit formatting
    "\u206a-\u206f\ufff9-\ufffb"  # deprecated formatting, interlinear annotation
    "\ud800-\udfff"  # no stream can encode them
    "]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}"


def printable(text: str) -> str:
    """A text as a part of a line, a newline in it escaped too; what is escaped already stays as it is."""
    return _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """As `printable`, for a text of several lines that are meant as such."""
    return "\n".join(map(printable, text.split("\n")))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON whose strings are exact, and which is safe to print: what `printable` escapes is escaped in it."""
    return printable_lines(json.dumps(value, indent=indent, ensure_ascii=False))


def say(*lines: object, file: TextIO | None = None, flush: bool = False) -> None:
    """Prints lines, by default on the output stream; nothing in one of them makes another."""
    print(*(printable(shown_text(str(line))) for line in lines), sep="\n", file=file, flush=flush)


class PrintableStream:
    """A text stream that hides secrets, and escapes all that `printable` escapes except newlines.

    It is for text that `say` does not print: tracebacks, warnings, logs and help. Everything else of
    the stream that it replaces stays available.

    Attributes:
      raw: that stream; for what moves the cursor on purpose, as a progress bar.
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
    """Lets a `PrintableStream` stand for this process's output and error streams, to its end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # None where the descriptor was closed.
        if stream is not None and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))


def raw_stream(stream: TextIO) -> TextIO:
    """The stream that a `PrintableStream` stands for; another one itself."""
    return stream.raw if isinstance(stream, PrintableStream) else stream
