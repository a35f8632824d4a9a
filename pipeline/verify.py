"""python -m pipeline.verify DIR: checks that a feature folder is complete, and compares it with another."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.assets.resolve import find_segments
from pipeline.cli.commands import VERIFY
from pipeline.cli.text import format_duration, print_result
from pipeline.output.run_files import REJECTED_LIST, list_files
from pipeline.process.main import run_main
from pipeline.verification.check_folder import Summary, verify_folder
from pipeline.verification.compare import Comparison, compare_folders
from pipeline.verification.coverage import Coverage, cover_segments
from pipeline.verification.process_pool import Mapper, Processes
from transforms.errors import SettingError
from transforms.inputs.read_segments import SegmentFiles
from transforms.printable import Attention, counted
from transforms.rejects import read_rejected
from transforms.storage.files import is_local

# Exit status if the folder has problems.
HAS_PROBLEMS = 1
_PROBLEMS_SHOWN = 50
_NEXT = "delete the shards named above, and run the command that made them again: it computes what is missing"
# For a remote folder: each process spends most of its time waiting for the network.
_REMOTE_PROCESSES = 16
# The modules that the processes run, and the slow ones among the imports of this module.
_MODULES = ("pipeline.verification.check_folder", "pipeline.verification.compare", "pipeline.job.config")


@dataclass
class Verification:
    """The result of a command; `coverage` is None without `--segments`, `comparison` without `--against`."""

    summary: Summary
    coverage: Coverage | None = None
    comparison: Comparison | None = None
    wall_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        parts = [part for part in (self.summary, self.coverage, self.comparison) if part]
        return [problem for part in parts for problem in part.problems]

    @property
    def notes(self) -> list[str]:
        return [*self.summary.notes, *(self.coverage.notes() if self.coverage else ())]

    def lines(self) -> list[str]:
        """Returns the result as text."""
        lines, problems = self.summary.lines(), self.problems
        lines.append(f"time    {format_duration(self.wall_s)}")
        if self.coverage:
            lines += self.coverage.lines()
        if self.comparison:
            lines += self.comparison.lines()
        lines += [f"note: {note}" for note in self.notes]
        lines += map(Attention, problems[:_PROBLEMS_SHOWN])
        if len(problems) > _PROBLEMS_SHOWN:
            lines.append(f"... and {len(problems) - _PROBLEMS_SHOWN:,} more")
        folder = self.summary.folder
        if problems:
            lines += [Attention(f"{folder} has {counted(len(problems), 'problem')}"), f"next    {_NEXT}"]
        else:
            lines.append(f"{folder} is good")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            **self.summary.to_json(),
            "segments": self.coverage and self.coverage.to_json(),
            "against": self.comparison and self.comparison.to_json(),
            "notes": self.notes,
            "problems": self.problems,
            "good": not self.problems,
            "wall_seconds": round(self.wall_s, 3),
        }


def run(argv: Sequence[str]) -> int:
    """Verifies a folder, prints its contents and problems, and returns the exit status.

    Raises:
      SettingError: a mistake in the command.
      OutputError: a reader process was killed.
    """
    begun = time.monotonic()
    options, beam_flags = VERIFY.parse(argv)
    folders = [folder for folder in (options.features, options.against) if folder]
    count = None if all(map(is_local, folders)) else _REMOTE_PROCESSES
    with Processes(count, _MODULES, beam_flags) as processes:
        segments, _ = find_segments(options.segments, options.class_labels, options.assets_dir)
        result = _verify(options, segments, processes.map)
    result.wall_s = time.monotonic() - begun
    print_result(result.lines(), result.to_json(), options.json)
    return HAS_PROBLEMS if result.problems else 0


def _verify(options: argparse.Namespace, segments: SegmentFiles | None, run_all: Mapper) -> Verification:
    is_indexed = segments is not None or options.against is not None
    summary = verify_folder(options.features, options.strict, options.manifest, is_indexed, run_all)
    if options.root is not None and options.root != summary.root:
        summary.problems.append(
            f"{summary.folder}: has the root {summary.root or 'none'}, not --root={options.root}"
        )
    result = Verification(summary)
    if segments is not None and summary.index is not None:
        lists = list_files(options.features, REJECTED_LIST)
        rejects = (clip for path in lists for clip in read_rejected(path))
        result.coverage = cover_segments(summary.index, segments.table(), rejects)
    if options.against is not None and summary.index is not None:
        other = verify_folder(options.against, indexed=True, run_all=run_all)
        if other.problems:
            summary.notes.append(f"{other.folder} has problems too ({len(other.problems):,}): verify it")
        if summary.kinds and other.kinds and not summary.kinds & other.kinds:
            raise SettingError(
                f"--against={other.folder}: contains {', '.join(other.kinds)} frames, but {summary.folder} "
                f"contains {', '.join(summary.kinds)} frames; give two folders of the same kind"
            )
        if other.index is not None:
            result.comparison = compare_folders(summary.index, other.index, run_all)
    return result


if __name__ == "__main__":
    sys.exit(run_main("pipeline.verify", lambda: run(sys.argv[1:])))
