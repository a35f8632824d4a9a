"""python -m pipeline.make_shards: audio files in, few large shards of them out, which `pipeline.run` reads.

A file is copied as it is, with what its name and the segments CSVs say of it. Features from the shards equal
features from the files, byte for byte, where `pipeline.run` is given the same `--segments` and `--split` as
this command. What a shard says of a file:

- Without `--segments`: its id, and the split if `--split` gives one.
- With `--segments`, of a file named with its time, so already cut: id, times, labels and split. For these
  `pipeline.run` needs no `--segments`, unless two splits share the time: a file is packed once.
- With `--segments`, of a whole soundtrack: its id alone. It is packed once for all its segments, not cut;
  `pipeline.run` cuts it and needs the same `--segments`. So it does for one segment, and for a file that is
  just as long as its segment and does not say so in its name: only who decodes knows a length.

Files that no segment names are not packed. Of files for one clip (`duplicate` to `pipeline.run`) all are, by
path: the first that can be decoded is the record, from the shards as from the files.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipeline.assets.resolve import find_segments
from pipeline.cli.console import unwrap_worker_errors
from pipeline.cli.flags import OneLineParser, check_flags
from pipeline.job.manifest import package_versions, shown_options
from pipeline.job.no_features import why_no_features
from pipeline.job.path_checks import Inputs, check_input, check_output, delete_input_list
from pipeline.job.runner import make_pipeline
from pipeline.output.account import Account
from pipeline.output.lock import lock_folder
from pipeline.output.run_files import (
    ACCOUNT_FILE,
    INPUT_LIST,
    MANIFEST_FILE,
    REJECTED_LIST,
    UNMATCHED_LIST,
    run_path,
)
from pipeline.process.main import run_main
from transforms.account import (
    EXPECTED,
    FILE_WITHOUT_SEGMENT,
    REJECTED,
    WRITTEN,
    Event,
    WriteAccount,
    WriteJsonLines,
    expected,
    unmatched,
    written,
)
from transforms.audio_shards.write import WRITERS, is_shard_name
from transforms.audioset.layout import check_split
from transforms.audioset.names import compile_id_pattern
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.clips import Key
from transforms.errors import SettingError
from transforms.printable import json_text, say
from transforms.storage.files import (
    delete_files,
    delete_found,
    exists,
    final_path,
    match_files,
    open_file,
    write_output,
)
from transforms.storage.filesystems import is_temporary
from transforms.storage.globs import escape, plain_path
from transforms.storage.shared_files import ASSETS_DIR_VARIABLE
from transforms.write_shards import Packed, PackSettings, WriteShards

# Exit statuses beside 0; 2 is a mistake in the command.
LOST_FILES = 3
NOTHING_PACKED = 4

# A shard says how many files it holds and not which, so that all are one entry of the account.
_FILES: Key = ("", "", 0)
# Outcomes beside those of an account of clips.
_SHARDS = "shards"
_JOINED_AGAIN = "joined_again"

# In `_run` while shards are written.
_MARK = "packing"

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_shard_bytes(text: str) -> int:
    """Reads `--shard_bytes`: 256MB, 1GB, 500KB or bytes; decimal units, in capitals or not.

    Raises:
      SettingError: another form, or 0.
    """
    match = re.fullmatch(r"(\d{1,18}) ?([KMG]?B|)", text.strip(), re.IGNORECASE | re.ASCII)
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not size:
        raise SettingError(
            f"--shard_bytes={text}: give a whole number above 0, of bytes or with KB, MB or GB, as 256MB"
        )
    return size


def run(argv: Sequence[str]) -> int:
    """Checks the command, packs the files, prints the account.

    Returns:
      The exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
    """
    options, beam_flags = _parse_options(argv)
    pipeline = make_pipeline(beam_flags)
    job, inputs = _check(options)
    with lock_folder(job.output):
        mark = _begin(job.output)
        listed = inputs.write(run_path(job.output, INPUT_LIST))
        with unwrap_worker_errors(), pipeline:
            _build_graph(pipeline, replace(job, inputs=listed))
        delete_input_list(job.output)

        account_path = run_path(job.output, ACCOUNT_FILE)
        with open_file(account_path) as file:
            account = Account.from_json(json.load(file))
        write_output(run_path(job.output, MANIFEST_FILE), _manifest(options, beam_flags, account).encode())
        delete_files([account_path, mark])
    say(*_lines(job, account, inputs.skipped))
    if not account.is_balanced:
        return LOST_FILES
    return 0 if account.total(WRITTEN) else NOTHING_PACKED


def _begin(output: str) -> str:
    """Marks a folder as one whose shards are being written, and returns the mark's path.

    Where there is one, of a run that was killed, that run's shards are deleted first.

    Raises:
      SettingError: there are other shards.
    """
    mark = run_path(output, _MARK)
    if exists(mark):
        found = match_files(FileSystems.join(escape(output), "*"))
        delete_found(path for path in found if _is_own(path.rsplit("/", 1)[-1]))
    delete_input_list(output)
    check_output(output, *(f"*.{kind}" for kind in WRITERS))
    write_output(mark, b"shards are being written\n")
    return mark


def _is_own(name: str) -> bool:
    return is_shard_name(name) or (is_temporary(name) and is_shard_name(final_path(f"/{name}")[1:]))


def _build_graph(pipeline: beam.Pipeline, job: WriteShards) -> None:
    shards = pipeline | "PackFiles" >> job
    rejected = (shards.rejected, shards.unlisted) | "Rejected" >> beam.Flatten()
    rejected | "WriteRejected" >> WriteJsonLines(run_path(job.output, REJECTED_LIST))
    shards.unmatched | "WriteUnmatched" >> WriteJsonLines(run_path(job.output, UNMATCHED_LIST))
    events = (
        shards.files | "ExpectFiles" >> beam.Map(lambda _: expected(_FILES)),
        shards.unlisted | "ExpectFolders" >> beam.Map(lambda _: expected(_FILES)),
        rejected | "CountRejected" >> beam.Map(lambda clip: (_FILES, REJECTED + clip.reason.value)),
        shards.unmatched | "CountUnmatched" >> beam.Map(unmatched),
        shards.packed | "CountPacked" >> beam.FlatMap(_packed_events),
    )
    # (Key, outcome)
    all_events = events | "Events" >> beam.Flatten()
    all_events | "WriteAccount" >> WriteAccount(run_path(job.output, ACCOUNT_FILE))


def _packed_events(packed: Packed) -> Iterator[Event]:
    yield _FILES, _SHARDS
    yield from [written(_FILES)] * packed.clips
    yield from [(_FILES, _JOINED_AGAIN)] * packed.joined_again


def _lines(job: WriteShards, account: Account, skipped: str) -> list[str]:
    """What was packed, for a person."""
    packed, rejected = account.total(WRITTEN), account.total(REJECTED)
    lines = [f"files read {account.total(EXPECTED)} = packed {packed} + rejected {rejected}"]
    if account.reasons():
        lines.append("rejected by reason: " + ", ".join(f"{r} {n}" for r, n in account.reasons().items()))
    if account.total(FILE_WITHOUT_SEGMENT):
        what = "no segment names" if job.settings.segments else "--id_pattern does not match"
        lines.append(f"files that {what}, not packed: {account.total(FILE_WITHOUT_SEGMENT)}")
    if account.total(_JOINED_AGAIN):
        lines.append(
            f"packed without times: {account.total(_JOINED_AGAIN)}; "
            "give pipeline.run the same --segments for these shards"
        )
    if not account.is_balanced:
        lines.append("THE ACCOUNT DOES NOT CLOSE: files were lost; please report this")
    if skipped:
        lines.append(f"skipped: {skipped}")
    if not packed:
        lines.append(why_no_features(job.output, job.settings, account, "packed"))
    glob = FileSystems.join(job.output, f"*.{job.kind}")
    lines.append(f"shards: {account.total(_SHARDS)}, {glob} (lists in the folder {RUN_FOLDER} beside them)")
    return lines


def _manifest(options: argparse.Namespace, beam_flags: Sequence[str], account: Account) -> str:
    manifest = {
        "options": shown_options({**vars(options), "beam_flags": beam_flags}),
        "versions": package_versions(),
        "account": {
            "read": account.total(EXPECTED),
            "packed": account.total(WRITTEN),
            "packed_without_times": account.total(_JOINED_AGAIN),
            "rejected": account.total(REJECTED),
            "rejected_by_reason": account.reasons(),
            "not_packed": account.total(FILE_WITHOUT_SEGMENT),
            "shards": account.total(_SHARDS),
            "balanced": account.is_balanced,
        },
    }
    return json_text(manifest, 2) + "\n"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help="audio files, on any filesystem that Beam knows; ** goes into folders; repeatable (required)",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=plain_path, help="folder or gs:// path for the shards (required)"
    )
    parser.add_argument("--format", choices=tuple(WRITERS), help="form of the shards (required)")
    parser.add_argument(
        "--shard_bytes",
        metavar="SIZE",
        default="256MB",
        help="most bytes of files in a shard, with KB, MB or GB (decimal); a larger file is alone in its "
        "own (default: %(default)s)",
    )
    parser.add_argument(
        "--segments",
        metavar="[SPLIT=]CSV",
        action="append",
        help="AudioSet segments CSV; files that none names are not packed; repeatable "
        "(default: every file is one clip)",
    )
    parser.add_argument(
        "--class_labels",
        metavar="CSV",
        type=plain_path,
        help="class_labels_indices.csv, for --segments (default: the released one)",
    )
    parser.add_argument(
        "--split",
        help="split of clips, where there are no segments (default: none, and pipeline.run's --split says)",
    )
    parser.add_argument(
        "--id_pattern",
        metavar="REGEX",
        help="searched in each path for other file names; group 'id', and 'start' (seconds) for files "
        "already cut to their segment",
    )
    parser.add_argument(
        "--assets_dir",
        metavar="DIR",
        type=plain_path,
        help="folder looked in first for the released class labels; also the environment variable "
        f"{ASSETS_DIR_VARIABLE} (default: the user cache)",
    )


def _parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line: own options, checked for their form, and Beam's as flags."""
    parser = OneLineParser(
        prog="python -m pipeline.make_shards",
        description="Packs audio files, as they are, into shards that pipeline.run reads.",
        epilog="Beam's options work too: --runner, --direct_num_workers, --temp_location and all others. "
        "Give pipeline.run the same --segments, if any, for the shards.",
        allow_abbrev=False,
    )
    _add_options(parser)
    options, beam_flags = parser.parse_known_args(argv)
    check_flags(argv, _add_options)
    for name in ("input", "output", "format"):
        if not getattr(options, name):
            raise SettingError(f"--{name} is required; see --help")
    return options, beam_flags


def _check(options: Any) -> tuple[WriteShards, Inputs]:
    """Checks all of a command, cheap things first.

    Raises:
      SettingError: the first thing that is wrong.
    """
    shard_bytes = parse_shard_bytes(options.shard_bytes)
    split = check_split(options.split) if options.split is not None else None
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    inputs = check_input(options.input, output=options.output)
    check_output(options.output)
    segments, _ = find_segments(options)
    settings = PackSettings(split, segments, id_pattern)
    return WriteShards(options.input, options.output, options.format, shard_bytes, settings), inputs


if __name__ == "__main__":
    sys.exit(run_main("pipeline.make_shards", lambda: run(sys.argv[1:])))
