"""The list of a run's inputs: the launcher or one worker lists them once, for all workers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple, TypeAlias

import apache_beam as beam

from transforms.clips import RejectedClip
from transforms.errors import Reason
from transforms.printable import json_text
from transforms.stage import Stage
from transforms.storage.files import read_file, write_output
from transforms.storage.listing import NOT_UTF8, list_files

# Inputs per file of the list; one worker reads a file.
_FILE_INPUTS = 50_000


class Input(NamedTuple):
    """A file to read, or a fault: a folder that cannot be listed, or a path that is not UTF-8."""

    path: str
    size: int  # in bytes; 0 for a fault
    fault: str | None = None  # why it cannot be listed or read; None for a file

    @property
    def is_file(self) -> bool:
        return self.fault is None


@dataclass(frozen=True)
class InputList:
    """The files with the list of a run's inputs. The graph carries this instead of millions of paths.

    Attributes:
      path: path of the files without their number and suffix.
      count: number of files.
    """

    path: str
    count: int

    @property
    def paths(self) -> list[str]:
        """Paths of the files. Workers read them, and the launcher deletes them after the run."""
        return [f"{self.path}-{number:05d}-of-{self.count:05d}.jsonl" for number in range(self.count)]


# Globs, or the list of the files that they match.
InputSource: TypeAlias = Sequence[str] | InputList


def write_input_list(
    path: str, files: Sequence[tuple[str, int]], faults: Sequence[tuple[str, str]]
) -> InputList:
    """Write the list of the inputs that the launcher found; errors as for `files.write_output`.

    Args:
      path: path of the list's files without their number and suffix; workers must be able to read it.
      files: (path, size in bytes), each file once.
      faults: (path, cause), as in `Listing`.
    """
    listed = InputList(path, max(1, -(-(len(files) + len(faults)) // _FILE_INPUTS)))
    rows: Iterator[Input] = chain(
        (Input(name, size) for name, size in files), (Input(name, 0, cause) for name, cause in faults)
    )
    for file_path in listed.paths:
        lines = (json_text(row) for row in islice(rows, _FILE_INPUTS))
        write_output(file_path, "".join(f"{line}\n" for line in lines).encode())
    return listed


@dataclass
class ListInputs(Stage):
    """Outputs each Input; if several globs match a file, it occurs several times.

    Attributes:
      source: a list from `write_input_list`, or globs; one worker lists a glob.
    """

    source: InputSource

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[Input]:
        is_list = isinstance(self.source, InputList)
        sources = self.source.paths if isinstance(self.source, InputList) else self.source
        return (
            pbegin
            | "Sources" >> beam.Create(sources)
            | "ListFiles" >> beam.FlatMap(_read_list if is_list else _list_glob)
        )


def _read_list(path: str) -> Iterator[Input]:
    for line in read_file(path).split(b"\n"):
        if line:
            yield Input(*json.loads(line))


def _list_glob(pattern: str) -> Iterator[Input]:
    listing = list_files(pattern)
    yield from (Input(path, size) for path, size in listing.files)
    yield from (Input(path, 0, cause) for path, cause in listing.faults)


@dataclass
class RejectFolders(Stage):
    """Input -> RejectedClip with this split and stage, for each fault; files are skipped."""

    split: str
    stage: str

    def expand(self, inputs: beam.PCollection[Input]) -> beam.PCollection[RejectedClip]:
        return (
            inputs
            | "Folders" >> beam.FlatMap(lambda found: [] if found.is_file else [(found.path, found.fault)])
            # (path, cause), twice if two globs match the path
            | "Distinct" >> beam.Distinct()
            | "Reject" >> beam.Map(_rejected_folder, self.split, self.stage)
        )


def _rejected_folder(folder: tuple[str, str], split: str, stage: str) -> RejectedClip:
    path, cause = folder
    message = cause
    if cause != NOT_UTF8:
        message = f"cannot be listed ({cause}), so the files in it are not read"
    return RejectedClip(split, "", 0.0, path, None, stage, Reason.UNREADABLE, message)
