"""The options of Beam, without importing Beam: beam_options.json, which docs/generate.py writes."""

import functools
import json
from pathlib import Path
from typing import NamedTuple

BEAM_OPTIONS = Path(__file__).with_name("beam_options.json")


class BeamOption(NamedTuple):
    """An option of Beam.

    Attributes:
      names: as on a command line.
      destination: the attribute name that Beam stores it under.
      nargs: as in `add_argument`.
      is_checked: whether Beam refuses some values.
    """

    names: tuple[str, ...]
    destination: str
    nargs: str | int | None
    is_checked: bool


@functools.cache
def beam_options() -> tuple[BeamOption, ...]:
    """Returns all options of Beam."""
    rows = json.loads(BEAM_OPTIONS.read_text())
    return tuple(BeamOption(tuple(names), *row) for names, *row in rows)
