"""Reads the list of AudioSet classes, `class_labels_indices.csv`, and looks up labels in it."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence

from transforms.errors import ClipError, Reason, SettingError

_HEADER = ["index", "mid", "display_name"]
# Of an index in the class list: below a billion, so that it fits in 32 bits.
_MAX_DIGITS = 9
# Classes of the release (ontology of 2017).
NUM_CLASSES = 527
_MAX_INDEX = 2**31 - 1


def read_class_labels(lines: Iterable[str], name: str, display_names: bool = False) -> dict[str, int]:
    """Read a class list: a header `index,mid,display_name`, then one row per class.

    Args:
      lines, name: the file's text, and its name for error messages.
      display_names: include the indices of display names ("Speech"); an equal mid takes precedence.

    Returns:
      mid (`/m/09x0r`) -> index (0); the release has 527.

    Raises:
      SettingError: the header differs, an index is not a number, or a mid or index is repeated.
    """
    rows = list(_read_rows(lines, name))
    indices = {mid: index for index, mid, _ in rows}
    # If two classes have the same name, it refers to the first one.
    names = {display_name: index for index, _, display_name in reversed(rows)}
    return names | indices if display_names else indices


def read_display_names(lines: Iterable[str], name: str) -> list[str]:
    """Read the display names of a class list in the order of the indices; see `read_class_labels`.

    Raises:
      SettingError: as in `read_class_labels`, or the indices are not 0, 1, 2 and so on.
    """
    rows = sorted(_read_rows(lines, name))
    for expected, (index, _, _) in enumerate(rows):
        if index != expected:
            raise SettingError(
                f"class labels {name}: no class has the index {expected}; number all classes from 0, or give "
                "the released class_labels_indices.csv"
            )
    return [display_name for _, _, display_name in rows]


def read_class_names(lines: Iterable[str], name: str) -> dict[int, str]:
    """Read a class list as index (0) -> display name ("Speech"); arguments as of `read_class_labels`."""
    return {index: display_name for index, _, display_name in _read_rows(lines, name)}


def label_indices(labels: Sequence[int | str], indices: Mapping[str, int] | None) -> tuple[int, ...]:
    """Convert the labels of a shard to class indices, sorted and without duplicates.

    A multi-hot vector, the form of TFDS, is recognized by its length: one value per class, each 0 or 1. A
    list of indices with that length would have duplicates.

    Args:
      labels: indices, mids or display names; or a multi-hot vector.
      indices: mid or display name -> index; None if there is no class list, which assumes the release's
        number of classes.

    Raises:
      ClipError: a name is not a class, or cannot be looked up; an index is outside 0 to 2^31 - 1; or labels
        are repeated 0 and 1, but not one per class, so that their form is ambiguous.
    """
    num_classes = NUM_CLASSES if indices is None else len(set(indices.values()))
    if len(labels) > 1 and all(label in (0, 1) for label in labels) and len(set(labels)) < len(labels):
        if len(labels) != num_classes or num_classes <= 2:
            raise ClipError(
                Reason.BAD_RECORD,
                f"labels are {len(labels)} values of 0 or 1: neither indices nor a multi-hot vector of "
                f"{num_classes} classes; give indices, or --class_labels with as many classes",
            )
        return tuple(index for index, label in enumerate(labels) if label)
    return tuple(sorted({_label_index(label, indices) for label in labels}))


def _label_index(label: int | str, indices: Mapping[str, int] | None) -> int:
    if isinstance(label, str):
        if indices is None:
            raise ClipError(Reason.BAD_RECORD, f"label {label[:80]!r} is a name; give --class_labels")
        if label not in indices:
            raise ClipError(Reason.BAD_RECORD, f"label {label[:80]!r} is not among the class labels")
        return indices[label]
    if not 0 <= label <= _MAX_INDEX:
        raise ClipError(Reason.BAD_RECORD, f"label {str(label)[:20]} is not a class index")
    return label


def _read_rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, str, str]]:
    """Yield the index, mid and display name of each class, validated."""
    try:
        reader = csv.reader(lines)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SettingError(f"class labels {name}: not a CSV file ({error}); fix it") from error
    header = rows[0][1] if rows else []
    if header != _HEADER:
        raise SettingError(
            f"class labels {name}: the header is {','.join(header)[:80]!r}, not {','.join(_HEADER)!r}; "
            "give the released class_labels_indices.csv"
        )
    mids, indices = set(), set()
    for number, row in rows[1:]:
        if not row:
            continue
        where = f"class labels {name}, line {number}"
        if len(row) != len(_HEADER) or not (row[0].isdecimal() and len(row[0]) <= _MAX_DIGITS and row[1]):
            raise SettingError(f"{where}: {','.join(row)[:80]!r} is not index,mid,display_name; fix the line")
        index, mid, display_name = int(row[0]), row[1], row[2]
        if mid in mids or index in indices:
            raise SettingError(f"{where}: index {index} or mid {mid!r} is repeated; keep one line")
        mids.add(mid)
        indices.add(index)
        yield index, mid, display_name
