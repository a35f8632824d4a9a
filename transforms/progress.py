"""How far a run is, told by its worker processes while they work; a picture for a person, and no account.

A runner that repeats a bundle is counted twice here, as in its own metrics. Beam's metrics will not do: local
runners give them when all is over.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

# What is counted, in the order of a process's file.
FILES_READ = "files_read"
CLIPS = "clips"  # given by inputs
CLIPS_DONE = "clips_done"  # embedded, rejected or already there
REJECTED = "rejected"
FRAMES = "frames"
SHARDS = "shards"  # written
COUNTERS = (FILES_READ, CLIPS, CLIPS_DONE, REJECTED, FRAMES, SHARDS)

Counts = dict[str, int]  # of COUNTERS
_SUFFIX = ".counts"


@dataclass(frozen=True)
class ProgressFolder:
    """A folder on this machine in which each worker process keeps its counts in a file of its own.

    The file is mapped into memory, so that counting is an addition and reading never waits.

    Attributes:
      path: of the folder. Where it does not exist, as on another machine, nothing is counted.
    """

    path: str

    def add(self, counter: str, number: int = 1) -> None:
        """Adds to a counter of this process; from any thread."""
        counts = _counts_of_process(self.path, os.getpid())
        if counts is not None:
            with _LOCK:
                counts[COUNTERS.index(counter)] += number

    def read(self) -> Counts:
        """The counts of all processes together."""
        total = np.zeros(len(COUNTERS), np.int64)
        for path in Path(self.path).glob(f"*{_SUFFIX}"):
            counts = np.fromfile(path, np.int64)
            if len(counts) == len(total):  # else it is being made
                total += counts
        return dict(zip(COUNTERS, total.tolist(), strict=True))


_LOCK = threading.Lock()


@cache
def _counts_of_process(folder: str, pid: int) -> np.ndarray | None:
    """int64[counters], mapped to a new file; by process, since a fork must not count into its parent's."""
    if not os.path.isdir(folder):
        return None
    path = os.path.join(folder, f"{pid}-{uuid.uuid4().hex}{_SUFFIX}")
    return np.memmap(path, np.int64, "w+", shape=(len(COUNTERS),))


@dataclass
class CountProgress(beam.PTransform):
    """Counts elements as they come by, beside whoever else takes them; gives nothing on.

    Attributes:
      folder: to count in.
      counts: element -> (counter, number) pairs to add.
    """

    folder: ProgressFolder
    counts: Callable[[Any], list[tuple[str, int]]]

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        return values | beam.ParDo(_Count(self.folder, self.counts))


class _Count(beam.DoFn):
    def __init__(self, folder: ProgressFolder, counts: Callable[[Any], list[tuple[str, int]]]):
        self._folder, self._counts = folder, counts

    def process(self, element: Any) -> Iterator[None]:
        for counter, number in self._counts(element):
            self._folder.add(counter, number)
        yield from ()
