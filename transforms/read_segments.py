"""Segments CSVs and class labels from any filesystem, once a process."""

import functools
import io
from dataclasses import dataclass

from transforms.audioset.labels import read_class_labels
from transforms.audioset.segments import Segment, SegmentTable, parse_segments
from transforms.errors import SettingError
from transforms.files import FILE_ERRORS, open_file


@dataclass(frozen=True)
class SegmentFiles:
    """Where segments come from: what a stage carries in place of millions of rows.

    Attributes:
      files: (split, path of a segments CSV), one or more.
      class_labels: path of `class_labels_indices.csv`.
    """

    files: tuple[tuple[str, str], ...]
    class_labels: str

    def table(self) -> SegmentTable:
        """Reads them all; a second call in a process returns the same table.

        Raises:
          SettingError: a file cannot be read, or has a bad row, or a segment comes twice.
        """
        return _read_table(self)


@functools.lru_cache(maxsize=1)
def _read_table(source: SegmentFiles) -> SegmentTable:
    indices = read_class_labels(_lines(source.class_labels, "class labels"), source.class_labels)
    segments: list[Segment] = []
    for split, path in source.files:
        segments += parse_segments(_lines(path, "segments"), split, indices, path)
    return SegmentTable(segments)


def _lines(path: str, what: str) -> io.StringIO:
    try:
        with open_file(path) as file:
            # utf-8-sig: spreadsheets put a byte order mark before the header.
            return io.StringIO(file.read().decode("utf-8-sig"), newline="")
    except (*FILE_ERRORS, UnicodeDecodeError) as error:
        raise SettingError(f"{what} {path}: cannot be read ({error}); check the path") from error
