"""python -m pipeline.verify DIR: is this feature folder whole, and how does it compare with that one?"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.assets.resolve import find_segments
from pipeline.cli.flags import OneLineParser, check_flags
from pipeline.cli.text import format_duration, print_result
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.run_files import REJECTED_LIST
from pipeline.process.main import run_main
from pipeline.verification.check_folder import Summary, verify_folder
from pipeline.verification.compare import Comparison, compare_folders
from pipeline.verification.coverage import Coverage, cover_segments
from pipeline.verification.process_pool import Mapper, Processes
from transforms.audioset.own_shards import RUN_FOLDER, SHARDS_FILE
from transforms.errors import SettingError
from transforms.inputs.read_segments import SegmentFiles
from transforms.rejects import read_rejected
from transforms.storage.files import is_local
from transforms.storage.globs import plain_path
from transforms.storage.shared_files import ASSETS_DIR_VARIABLE

# Exit status where the folder has problems.
FAULTY = 1
_FAULTS_SHOWN = 50
_NEXT = (
    "delete the shards that are named, and give the command that made them again: it makes what is missing"
)
# Of a folder that is not on this machine: each waits for the network most of the time.
_REMOTE_PROCESSES = 16
# What they run, and what takes long of what this module imports.
_MODULES = ("pipeline.verification.check_folder", "pipeline.verification.compare", "pipeline.job.config")


@dataclass
class Verification:
    """All that a command found out.

    Attributes:
      summary: of the folder.
      coverage: of segments, if there were any.
      comparison, other_folder: with another folder, if there was one.
      wall_s: time that it took.
    """

    summary: Summary
    coverage: Coverage | None = None
    comparison: Comparison | None = None
    other_folder: str | None = None
    wall_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        parts = [part for part in (self.summary, self.coverage, self.comparison) if part]
        return [problem for part in parts for problem in part.problems]

    @property
    def notes(self) -> list[str]:
        return [*self.summary.notes, *(self.coverage.notes() if self.coverage else ())]

    def lines(self) -> list[str]:
        """The result for a person."""
        lines, problems = self.summary.lines(), self.problems
        lines.append(f"time    {format_duration(self.wall_s)}")
        if self.coverage:
            lines += self.coverage.lines()
        if self.comparison and self.other_folder:
            lines += self.comparison.lines(self.other_folder)
        lines += [f"note: {note}" for note in self.notes]
        lines += problems[:_FAULTS_SHOWN]
        if len(problems) > _FAULTS_SHOWN:
            lines.append(f"... and {len(problems) - _FAULTS_SHOWN:,} more")
        folder = self.summary.folder
        if problems:
            lines += [f"{folder} has {len(problems):,} problems", f"next    {_NEXT}"]
        else:
            lines.append(f"{folder} is good")
        return lines

    def to_json(self) -> dict[str, Any]:
        against = self.comparison and {"folder": self.other_folder, **self.comparison.to_json()}
        return {
            **self.summary.to_json(),
            "segments": self.coverage and self.coverage.to_json(),
            "against": against,
            "notes": self.notes,
            "problems": self.problems,
            "good": not self.problems,
            "wall_seconds": round(self.wall_s, 3),
        }


def run(argv: Sequence[str]) -> int:
    """Verifies a folder, prints what it holds and its problems, and returns the exit status.

    Raises:
      SettingError: a mistake in the command.
      OutputError: a process that was reading was killed.
    """
    begun = time.monotonic()
    options, beam_flags = _parse_options(argv)
    folders = [folder for folder in (options.folder, options.against) if folder]
    count = None if all(map(is_local, folders)) else _REMOTE_PROCESSES
    with Processes(count, _MODULES, beam_flags) as processes:
        segments, _ = find_segments(options)
        result = _verify(options, segments, processes.map)
    result.wall_s = time.monotonic() - begun
    print_result(result.lines(), result.to_json(), options.json)
    return FAULTY if result.problems else 0


def _verify(options: argparse.Namespace, segments: SegmentFiles | None, run_all: Mapper) -> Verification:
    is_indexed = segments is not None or options.against is not None
    summary = verify_folder(options.folder, options.strict, options.manifest, is_indexed, run_all)
    result = Verification(summary)
    if segments is not None and summary.index is not None:
        lists = FeatureFolder.at(options.folder).lists(REJECTED_LIST)
        rejects = (clip for path in lists for clip in read_rejected(path))
        result.coverage = cover_segments(summary.index, segments.table(), rejects)
    if options.against is not None and summary.index is not None:
        other = verify_folder(options.against, indexed=True, run_all=run_all)
        if other.problems:
            summary.notes.append(f"{other.folder} has {len(other.problems):,} problems itself: verify it too")
        if summary.kinds and other.kinds and not summary.kinds & other.kinds:
            raise SettingError(
                f"--against={other.folder}: holds {', '.join(other.kinds)} frames, and {summary.folder} "
                f"{', '.join(summary.kinds)}; give folders of one kind"
            )
        if other.index is not None:
            result.comparison = compare_folders(summary.index, other.index, run_all)
            result.other_folder = other.folder
    return result


def _parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line: own options, and Beam's as flags."""
    parser = OneLineParser(
        prog="python -m pipeline.verify",
        description="Checks a feature folder against the AudioSet release's layout and sums it up. "
        f"Exit status: 0 good, {FAULTY} problems (listed), 2 a mistake in the command.",
        epilog="Beam's options of filesystems work too, as --s3_endpoint_url.",
        allow_abbrev=False,
    )
    _add_options(parser)
    options, beam_flags = parser.parse_known_args(argv)
    check_flags(argv, _add_options)
    return options, beam_flags


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=plain_path,
        help="holds SPLIT/PREFIX.tfrecord; on any filesystem that Beam knows",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="check too that records are in order of id and start, as this pipeline writes them and "
        "the release does not",
    )
    parser.add_argument(
        "--manifest",
        action="store_true",
        help=f"check too that the shards are, byte for byte, those of {RUN_FOLDER}/{SHARDS_FILE}, which "
        "pipeline.run writes at its end",
    )
    parser.add_argument(
        "--segments",
        metavar="[SPLIT=]CSV",
        action="append",
        help="check too that every clip of a segments CSV has a record with its labels, or is among the "
        "folder's rejects; another end is noted and no problem, since the release has some; released names "
        "tell their split; repeatable",
    )
    parser.add_argument(
        "--class_labels",
        metavar="CSV",
        type=plain_path,
        help="class_labels_indices.csv, for --segments (default: the released one)",
    )
    parser.add_argument(
        "--assets_dir",
        metavar="DIR",
        type=plain_path,
        help="folder looked in first for the released class labels; also the environment variable "
        f"{ASSETS_DIR_VARIABLE} (default: the user cache)",
    )
    parser.add_argument(
        "--against",
        metavar="DIR2",
        type=plain_path,
        help="compare with another folder, clip by clip, however it is sharded: a clip that only one has, "
        "or with another number of frames, is a problem; bytes that differ are none",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object, with all problems"
    )


if __name__ == "__main__":
    sys.exit(run_main("pipeline.verify", lambda: run(sys.argv[1:])))
