"""The AudioSet classes: `class_labels_indices.csv`."""

import csv
from collections.abc import Iterable, Iterator

from transforms.errors import SettingError

_HEADER = ["index", "mid", "display_name"]
# Of an index: below a billion, so that it fits in 32 bits.
_MAX_DIGITS = 9


def read_class_labels(lines: Iterable[str], name: str, display_names: bool = False) -> dict[str, int]:
    """Reads a class list: a header `index,mid,display_name`, then a row a class.

    Args:
      lines: the file's text.
      name: what to call it in an error.
      display_names: give the indices of display names ("Speech") too; a mid that looks like one wins.

    Returns:
      mid (`/m/09x0r`) -> index (0); the release has 527.

    Raises:
      SettingError: another header, an index that is no number, or a mid or index that comes twice.
    """
    rows = list(_read_rows(lines, name))
    indices = {mid: index for index, mid, _ in rows}
    # Of two classes with one name the first has it.
    names = {display_name: index for index, _, display_name in reversed(rows)}
    return names | indices if display_names else indices


def read_display_names(lines: Iterable[str], name: str) -> list[str]:
    """Display names by index, of a class list as `read_class_labels` takes it.

    Raises:
      SettingError: as there, or the indices are not 0, 1, 2 and so on.
    """
    rows = sorted(_read_rows(lines, name))
    for place, (index, _, _) in enumerate(rows):
        if index != place:
            raise SettingError(
                f"class labels {name}: no class has the index {place}; number all classes from 0, or give "
                "the released class_labels_indices.csv"
            )
    return [display_name for _, _, display_name in rows]


def read_class_names(lines: Iterable[str], name: str) -> dict[int, str]:
    """Reads the display names of a class list: index (0) -> name ("Speech").

    Args and errors are those of `read_class_labels`.
    """
    return {index: display_name for index, _, display_name in _read_rows(lines, name)}


def _read_rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, str, str]]:
    """Yields index, mid and display name of each class, checked."""
    try:
        reader = csv.reader(lines)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SettingError(f"class labels {name}: not a CSV file ({error}); mend it") from error
    header = rows[0][1] if rows else []
    if header != _HEADER:
        raise SettingError(
            f"class labels {name}: the header is {','.join(header)[:80]!r}, not {','.join(_HEADER)!r}; "
            "give the released class_labels_indices.csv"
        )
    mids, used = set(), set()
    for number, row in rows[1:]:
        if not row:
            continue
        where = f"class labels {name}, line {number}"
        if len(row) != len(_HEADER) or not (row[0].isdecimal() and len(row[0]) <= _MAX_DIGITS and row[1]):
            raise SettingError(
                f"{where}: {','.join(row)[:80]!r} is not index,mid,display_name; mend the line"
            )
        index, mid, display_name = int(row[0]), row[1], row[2]
        if mid in mids or index in used:
            raise SettingError(f"{where}: {index} or {mid!r} comes a second time; keep one")
        mids.add(mid)
        used.add(index)
        yield index, mid, display_name
