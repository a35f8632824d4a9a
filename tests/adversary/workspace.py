"""The resources that all sequences of a process share, and the start of runs."""

import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from fork_server import RUN_FLAGS, ForkServer, Kill
from oracle import Content
from pool import Pool


class Mode(NamedTuple):
    """How inputs become clips.

    Attributes:
      split: the split of the clips. Each mode has its own split, except the two versions of segments.
      version: the version of the segments; 0 if there are none.
    """

    split: str
    version: int = 0


MODES = (Mode("train"), Mode("other"), Mode("cut", 1), Mode("cut", 2))


class Workspace:
    """The resources that all sequences of a process share: inputs, fork server, and undisturbed runs.

    Attributes:
      pool: the inputs.
      out: the output folder.
      server: starts the runs.
      counts: numbers of sequences, runs, and kinds of disturbance.
    """

    def __init__(self, folder: Path):
        self.pool = Pool(folder)
        self.out = folder / "out"
        self.server = ForkServer(folder / "server.log")
        self.counts = Counter[str]()
        self._folder = folder
        self._undisturbed: dict[tuple, tuple[int, Content]] = {}

    def flags(self, mode: Mode, sharding: str, output: Path | None = None) -> list[str]:
        flags = [*RUN_FLAGS, f"--output={output or self.out}", f"--sharding={sharding}"]
        flags.append(f"--split={mode.split}")
        if not mode.version:
            return flags
        segments = f"--segments={mode.split}={self._folder}/segments{mode.version}.csv"
        return [*flags, segments, f"--class_labels={self._folder}/labels.csv"]

    def undisturbed(self, mode: Mode, sharding: str, files: frozenset[str]) -> tuple[int, Content]:
        """Returns the exit status and content of one run over some files into an empty folder."""
        key = mode, sharding, files, self.pool.is_repaired
        if key not in self._undisturbed:
            output = self._folder / "undisturbed"
            shutil.rmtree(output, ignore_errors=True)
            flags = [*self.flags(mode, sharding, output), *(f"--input={path}" for path in sorted(files))]
            status, printed = self.run(flags)
            assert status in (0, 4), printed
            shards = {str(p.relative_to(output)): p.read_bytes() for p in output.glob("*/*.tfrecord")}
            self._undisturbed[key] = status, Content.of(output, shards)
            self.counts["undisturbed runs"] += 1
        return self._undisturbed[key]

    def run(self, flags: list[str], kill: Kill | None = None) -> tuple[int, str]:
        """Runs a command; returns its exit status and what it printed."""
        return self.wait(self.start(flags, kill))

    def start(self, flags: list[str], kill: Kill | None = None) -> tuple[int, Path]:
        self.counts["runs"] += 1
        printed = self._folder / f"printed{self.counts['runs']}"
        return self.server.start(flags, printed, kill), printed

    def wait(self, started: tuple[int, Path]) -> tuple[int, str]:
        pid, printed = started
        status = self.server.wait(pid)
        text = printed.read_text() if printed.exists() else ""
        printed.unlink(missing_ok=True)
        assert "Traceback" not in text, text
        return status, text

    def close(self) -> None:
        self.server.close()
