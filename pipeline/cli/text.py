"""Formats tables, sizes, durations and results as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from transforms.printable import json_text, say
from transforms.redact import shown

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def format_table(rows: Mapping[str, str]) -> list[str]:
    """Formats names and values in two columns; rows with an empty value are left out.

    A row is an `Attention` if its value is one.
    """
    width = max((len(name) for name in rows), default=0)
    return [type(value)(f"{name:<{width}}  {value}") for name, value in rows.items() if value]


def format_bytes(num_bytes: float) -> str:
    """Formats a number of bytes in decimal units: 512 bytes, 1.5 MB."""
    for unit in _UNITS:
        if num_bytes < 1000 or unit == _UNITS[-1]:
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.3g} {unit}"


def format_duration(seconds: float) -> str:
    """Formats a duration: 42 s, 3.5 min, 11.7 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 or not seconds else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6_000 else f"{seconds / 3600:,.1f} h"


def print_result(lines: Sequence[str], values: Mapping[str, Any], as_json: bool) -> None:
    """Prints a command's result on standard output, as lines or as one JSON object."""
    say(*(json_text(shown(values), 2).split("\n") if as_json else lines))
