"""Reads segments CSVs and class labels from any filesystem, once per process.

All functions raise SettingError if a file cannot be read or is malformed, or if a segment occurs twice.
"""

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.audioset.labels import read_class_labels, read_class_names
from transforms.audioset.segments import Segment, SegmentTable, parse_segments
from transforms.errors import SettingError
from transforms.storage.files import read_given
from transforms.storage.shared_files import SharedFile, local_path


@dataclass(frozen=True)
class SegmentFiles:
    """Segments CSVs. Stages carry this instead of millions of rows.

    Attributes:
      files: (split, path of a segments CSV), one or more.
      class_labels: `class_labels_indices.csv`, or its path.
      sha256: of all their bytes; if it changes, a process reads the files again.
    """

    files: tuple[tuple[str, str], ...]
    class_labels: SharedFile | str
    sha256: str

    @classmethod
    def of(cls, files: Sequence[tuple[str, str]], class_labels: SharedFile | str) -> "SegmentFiles":
        """Return the files in their current state."""
        digest = hashlib.sha256(read_given(local_path(class_labels), "class labels"))
        for split, path in files:
            digest.update(f"\0{split}\0".encode() + read_given(path, "segments"))
        return cls(tuple(files), class_labels, digest.hexdigest())

    def table(self) -> SegmentTable:
        """Read all files; a second call in a process returns the same table."""
        return _read_table(self)


def read_label_indices(file: SharedFile | str, display_names: bool = True) -> dict[str, int]:
    """Return mid or display name -> index, from `class_labels_indices.csv`."""
    path = local_path(file)
    return read_class_labels(_lines(path, "class labels"), path, display_names)


def read_label_names(file: SharedFile | str) -> dict[int, str]:
    """Return index -> display name, from `class_labels_indices.csv`."""
    path = local_path(file)
    return read_class_names(_lines(path, "class labels"), path)


@functools.lru_cache(maxsize=1)
def _read_table(source: SegmentFiles) -> SegmentTable:
    indices = read_label_indices(source.class_labels, display_names=False)
    segments: list[Segment] = []
    for split, path in source.files:
        segments += parse_segments(_lines(path, "segments"), split, indices, path)
    return SegmentTable(segments)


def _lines(path: str, what: str) -> io.StringIO:
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the header.
        return io.StringIO(read_given(path, what).decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise SettingError(f"{what} {path}: is not UTF-8 text ({error}); save it as UTF-8") from error
