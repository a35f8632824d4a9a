"""An extension of Griffe for the API page: every parameter gets its own row.

The docstrings describe similar parameters together (`weights, pca_params: ...`). mkdocstrings does not find a
parameter with that joined name, and would show it without a type and as required.
"""

import re
from typing import Any

import griffe

# An item of at least two names in an Args or Attributes section, with its indented continuation lines.
_JOINED = re.compile(r"^( +)(\w+(?:, \w+)+):(.*(?:\n\1 +.*)*)", re.MULTILINE)


class OneRowPerParameter(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring and not obj.is_module:
            obj.docstring.value = _JOINED.sub(_split, obj.docstring.value)


def _split(item: re.Match[str]) -> str:
    indent, names, text = item.groups()
    return "\n".join(f"{indent}{name}:{text}" for name in names.split(", "))
