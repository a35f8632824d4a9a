"""Reads segments CSVs and class labels from any filesystem, once per process."""

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.audioset.labels import read_class_labels, read_class_names
from transforms.audioset.segments import Segment, SegmentTable, parse_segments
from transforms.errors import SettingError
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
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
        """Return the files in their current state.

        Raises:
          SettingError: a file cannot be read.
        """
        digest = hashlib.sha256(_read(local_path(class_labels), "class labels"))
        for split, path in files:
            digest.update(f"\0{split}\0".encode() + _read(path, "segments"))
        return cls(tuple(files), class_labels, digest.hexdigest())

    def table(self) -> SegmentTable:
        """Read all files; a second call in a process returns the same table.

        Raises:
          SettingError: a file cannot be read or has an invalid row, or a segment occurs twice.
        """
        return _read_table(self)


@dataclass(frozen=True)
class ClassLabelFile:
    """The class labels, which map names to indices.

    Attributes:
      file: `class_labels_indices.csv`, or its path.
    """

    file: SharedFile | str

    def indices(self) -> dict[str, int]:
        """Mid or display name -> index.

        Raises:
          SettingError: the file cannot be read, or is none.
        """
        return _read_labels(self.file, display_names=True)

    def names(self) -> dict[int, str]:
        """Index -> display name.

        Raises:
          SettingError: the file cannot be read, or is none.
        """
        path = local_path(self.file)
        return read_class_names(_lines(path, "class labels"), path)


@functools.lru_cache(maxsize=1)
def _read_table(source: SegmentFiles) -> SegmentTable:
    indices = _read_labels(source.class_labels)
    segments: list[Segment] = []
    for split, path in source.files:
        segments += parse_segments(_lines(path, "segments"), split, indices, path)
    return SegmentTable(segments)


def _read_labels(file: SharedFile | str, display_names: bool = False) -> dict[str, int]:
    path = local_path(file)
    return read_class_labels(_lines(path, "class labels"), path, display_names)


def _lines(path: str, what: str) -> io.StringIO:
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the header.
        return io.StringIO(_read(path, what).decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise SettingError(f"{what} {path}: is not UTF-8 text ({error}); save it as UTF-8") from error


def _read(path: str, what: str) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except FILE_ERRORS as error:
        raise SettingError(f"{what} {path}: cannot be read ({error}); check the path") from error
