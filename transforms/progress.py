"""Counts a run's progress in its worker processes while they work. The counts are for display only.

If a runner repeats a bundle, its elements are counted twice, as in Beam's metrics. Beam's metrics cannot be
used here, since local runners return them only at the end.
"""

import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.stage import Stage

# The counters.
FILES_READ = "files_read"
CLIPS = "clips"  # read from the inputs
CLIPS_DONE = "clips_done"  # embedded, rejected or already in the output
REJECTED = "rejected"
FRAMES = "frames"
SHARDS = "shards"  # written
# In the order of a process's file.
COUNTERS = (FILES_READ, CLIPS, CLIPS_DONE, REJECTED, FRAMES, SHARDS)

Counts = dict[str, int]  # counter -> count, for all of COUNTERS
_SUFFIX = ".counts"


@dataclass(frozen=True)
class ProgressFolder:
    """A folder on this machine with one file of counts per worker process.

    The files are memory-mapped: counting is a single addition, and reading never waits.

    Attributes:
      path: of the folder. If it does not exist, for example on another machine, nothing is counted.
    """

    path: str

    def add(self, counter: str, number: int = 1) -> None:
        """Add to a counter of this process. Can be called from any thread."""
        counts = _counts_of_process(self.path, os.getpid())
        if counts is not None:
            with _LOCK:
                counts[COUNTERS.index(counter)] += number

    def read(self) -> Counts:
        """Return the sums of the counts of all processes."""
        total = np.zeros(len(COUNTERS), np.int64)
        for path in Path(self.path).glob(f"*{_SUFFIX}"):
            counts = np.fromfile(path, np.int64)
            if len(counts) == len(total):  # otherwise the file is being created
                total += counts
        return dict(zip(COUNTERS, total.tolist(), strict=True))


_LOCK = threading.Lock()


@cache
def _counts_of_process(folder: str, pid: int) -> np.ndarray | None:
    """Return int64[counters], mapped to a new file; one per pid, so that a fork gets its own."""
    if not os.path.isdir(folder):
        return None
    path = os.path.join(folder, f"{pid}-{uuid.uuid4().hex}{_SUFFIX}")
    return np.memmap(path, np.int64, "w+", shape=(len(COUNTERS),))


@dataclass
class CountProgress(Stage):
    """Counts the elements of a PCollection; outputs nothing.

    Attributes:
      counts: element -> (counter, number) pairs to add.
    """

    folder: ProgressFolder
    counts: Callable[[Any], list[tuple[str, int]]]

    def expand(self, values: beam.PCollection) -> beam.PCollection:
        return values | beam.FlatMap(_count, self.folder, self.counts)


def _count(
    element: Any, folder: ProgressFolder, counts: Callable[[Any], list[tuple[str, int]]]
) -> list[None]:
    for counter, number in counts(element):
        folder.add(counter, number)
    return []
