"""Makes pipelines in the process of the tests quicker: what Beam finds out twice is remembered.

The cost of a small pipeline is in its construction, and most tests run several of the same graph.
"""

import bz2
import os
import shutil
import types
from typing import Any

import pytest
from apache_beam.internal import cloudpickle_pickler
from apache_beam.runners.worker import statecache
from apache_beam.transforms import core, userstate
from apache_beam.typehints import trivial_inference


def remember(patch: pytest.MonkeyPatch) -> None:
    """Change Beam until the end of the patch."""
    read_instructions, read_specs = trivial_inference.dis.get_instructions, userstate.get_dofn_specs
    instructions: dict[types.CodeType, list] = {}
    specs: dict[tuple, tuple[set, set]] = {}
    read_body, bodies = core._get_function_body_without_inners, dict[types.CodeType, str]()

    def get_instructions(function: Any, **options: Any) -> list:
        code = function.__code__
        if code not in instructions:
            instructions[code] = list(read_instructions(function, **options))
        return instructions[code]

    def get_dofn_specs(dofn: Any) -> tuple[set, set]:
        # The second part distinguishes the functions of beam.Map and its like, which have one class.
        key = type(dofn), getattr(getattr(dofn, "_fn", None), "__code__", None)
        if key not in specs:
            specs[key] = read_specs(dofn)
        return specs[key]

    def get_body(function: Any) -> str:
        code = function.__code__
        if code not in bodies:
            bodies[code] = read_body(function)
        return bodies[code]

    dis = types.SimpleNamespace(**{**vars(trivial_inference.dis), "get_instructions": get_instructions})
    patch.setattr(trivial_inference, "dis", dis)
    patch.setattr(userstate, "get_dofn_specs", get_dofn_specs)
    patch.setattr(core, "_get_function_body_without_inners", get_body)
    # Beam's parsers ask for it once per option, and this process has no terminal.
    patch.setattr(shutil, "get_terminal_size", _terminal_size)
    # The highest level, which Beam chooses, only allocates more memory for pickles of this size.
    quick = types.SimpleNamespace(compress=_compress, decompress=bz2.decompress)
    patch.setattr(cloudpickle_pickler, "bz2", quick)
    # The size decides what is evicted from a cache of 100 MB. To find it out, Beam looks at all modules.
    patch.setattr(statecache, "get_deep_size", lambda *_: 1000)


def _terminal_size(fallback: tuple[int, int] = (80, 24)) -> os.terminal_size:
    columns, lines = fallback
    return os.terminal_size((int(os.environ.get("COLUMNS", columns)), lines))


def _compress(data: bytes, compresslevel: int) -> bytes:
    return bz2.compress(data, 1)
