"""python -m pipeline.make_shards: packs audio files into a few large shards, which `pipeline.run` reads.

The command copies each file unchanged, with the metadata from its name and the segments CSVs. If
`pipeline.run` gets the same `--segments` and `--split` as this command, the features from the shards equal
the features from the files, byte for byte. The metadata of a file in a shard:

- Without `--segments`: its id, and the split if `--split` is given.
- With `--segments`, for a file whose name contains its time, so that it is already cut: id, times, labels and
  split. For these files `pipeline.run` needs no `--segments`, unless two splits share the segment: each file
  is packed once.
- With `--segments`, for a whole soundtrack: its id only. It is packed once for all its segments, and not cut;
  `pipeline.run` cuts it and needs the same `--segments`. The same holds if it has only one segment, and if
  the file is exactly as long as its segment but its name has no time, since only decoding can show its
  length.

Files without a segment are not packed. If several files have the same clip (`duplicate` in `pipeline.run`),
all are packed, in order of path: the first one that can be decoded becomes the record, as it does from the
files.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipeline.assets.resolve import find_segments
from pipeline.cli.commands import MAKE_SHARDS
from pipeline.cli.console import unwrap_worker_errors
from pipeline.job.manifest import package_versions, shown_options
from pipeline.job.no_features import why_no_features
from pipeline.job.path_checks import check_input, check_output
from pipeline.job.runner import make_pipeline
from pipeline.output.account import Account
from pipeline.output.lock import lock_folder
from pipeline.output.run_files import (
    ACCOUNT_FILE,
    INPUT_LIST,
    REJECTED_LIST,
    UNMATCHED_LIST,
    delete_input_list,
    run_path,
)
from pipeline.process.main import run_main
from transforms.audio_shards.formats import SHARD_FORMATS
from transforms.audio_shards.write import is_shard_name
from transforms.audioset.layout import check_split
from transforms.audioset.names import compile_id_pattern
from transforms.audioset.own_shards import MANIFEST_FILE, RUN_FOLDER
from transforms.clips import Key
from transforms.errors import SettingError
from transforms.printable import json_text, say
from transforms.storage.files import (
    delete_files,
    delete_found,
    exists,
    final_path,
    match_files,
    write_output,
)
from transforms.storage.filesystems import is_temporary
from transforms.storage.globs import escape
from transforms.write_account import (
    EXPECTED,
    FILE_WITHOUT_SEGMENT,
    REJECTED,
    WRITTEN,
    Event,
    WriteAccount,
    WriteJsonLines,
    unmatched,
)
from transforms.write_shards import Packed, PackSettings, WriteShards

# Exit statuses besides 0; 2 is a mistake in the command.
LOST_FILES = 3
NOTHING_PACKED = 4

# Shards report how many files they contain but not which, so all files share one key of the account.
_FILES: Key = ("", "", 0)
# Outcomes besides those of `transforms.write_account`.
_SHARDS = "shards"
_JOINED_AGAIN = "joined_again"

# This file is in `_run` while the command writes shards.
_MARK = "packing"

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_shard_bytes(text: str) -> int:
    """Parses `--shard_bytes`: 256MB, 1GB, 500KB or 7B; decimal units in either case.

    Raises:
      SettingError: the text has another form, or is 0.
    """
    match = re.fullmatch(r"(\d{1,18}) ?([KMG]?B|)", text.strip(), re.IGNORECASE | re.ASCII)
    if match and not match[2]:
        raise SettingError(f"--shard_bytes={text}: {text} what? Write {text}MB, or {text}B for bytes")
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not size:
        raise SettingError(
            f"--shard_bytes={text}: give an integer above 0 with B, KB, MB or GB, such as 256MB"
        )
    return size


def run(argv: Sequence[str]) -> int:
    """Checks the command, packs the files, prints the account, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
    """
    options, beam_flags = MAKE_SHARDS.parse(argv)
    pipeline = make_pipeline(beam_flags)
    # The cheap checks come first.
    shard_bytes = parse_shard_bytes(options.shard_bytes)
    split = check_split(options.split) if options.split is not None else None
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    inputs = check_input(options.input, output=options.output)
    check_output(options.output)
    segments, _ = find_segments(options.segments, options.class_labels, options.assets_dir)
    settings = PackSettings(split, segments, id_pattern)
    job = WriteShards(options.input, options.output, options.format, shard_bytes, settings)
    with lock_folder(job.output):
        mark = _begin(job.output)
        listed = inputs.write(run_path(job.output, INPUT_LIST))
        with unwrap_worker_errors(), pipeline:
            _build_graph(pipeline, replace(job, inputs=listed))
        delete_input_list(job.output)

        account = Account.read(job.output)
        write_output(run_path(job.output, MANIFEST_FILE), _manifest(options, beam_flags, account).encode())
        delete_files([run_path(job.output, ACCOUNT_FILE), mark])
    say(*_lines(job, account, inputs.skipped))
    if not account.is_balanced:
        return LOST_FILES
    return 0 if account.total(WRITTEN) else NOTHING_PACKED


def _begin(output: str) -> str:
    """Writes a file that marks the output as incomplete, and returns its path.

    If a killed run left such a file, its shards are deleted first.

    Raises:
      SettingError: the folder contains other shards.
    """
    mark = run_path(output, _MARK)
    if exists(mark):
        found = match_files(FileSystems.join(escape(output), "*"))
        delete_found(path for path in found if _is_own(path.rsplit("/", 1)[-1]))
    delete_input_list(output)
    check_output(output, *(f"*.{kind}" for kind in SHARD_FORMATS))
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
        shards.files | "ExpectFiles" >> beam.Map(lambda _: (_FILES, EXPECTED)),
        shards.unlisted | "ExpectFolders" >> beam.Map(lambda _: (_FILES, EXPECTED)),
        rejected | "CountRejected" >> beam.Map(lambda clip: (_FILES, REJECTED + clip.reason.value)),
        shards.unmatched | "CountUnmatched" >> beam.Map(unmatched),
        shards.packed | "CountPacked" >> beam.FlatMap(_packed_events),
    )
    # (Key, outcome)
    all_events = events | "Events" >> beam.Flatten()
    all_events | "WriteAccount" >> WriteAccount(run_path(job.output, ACCOUNT_FILE))


def _packed_events(packed: Packed) -> Iterator[Event]:
    yield _FILES, _SHARDS
    yield from [(_FILES, WRITTEN)] * packed.clips
    yield from [(_FILES, _JOINED_AGAIN)] * packed.joined_again


def _lines(job: WriteShards, account: Account, skipped: str) -> list[str]:
    """Returns the result as text."""
    packed, rejected = account.total(WRITTEN), account.total(REJECTED)
    lines = [f"files read {account.total(EXPECTED)} = packed {packed} + rejected {rejected}"]
    if rejected:
        lines.append(f"rejected by reason: {account.reasons_text()}")
    if account.total(FILE_WITHOUT_SEGMENT):
        what = "without a segment" if job.settings.segments else "that --id_pattern does not match"
        lines.append(f"files {what}, not packed: {account.total(FILE_WITHOUT_SEGMENT)}")
    if account.total(_JOINED_AGAIN):
        lines.append(
            f"packed without times: {account.total(_JOINED_AGAIN)}; "
            "give pipeline.run the same --segments for these shards"
        )
    if not account.is_balanced:
        lines.append("THE COUNTS DO NOT ADD UP: files were lost; please report this")
    if skipped:
        lines.append(f"skipped: {skipped}")
    if not packed:
        lines.append(why_no_features(job.output, job.settings, account, "packed"))
    glob = FileSystems.join(job.output, f"*.{job.kind}")
    lines.append(f"shards: {account.total(_SHARDS)}, {glob} (lists in the folder {RUN_FOLDER} next to them)")
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


if __name__ == "__main__":
    sys.exit(run_main("pipeline.make_shards", lambda: run(sys.argv[1:])))
