"""python -m pipeline.run: audio files in, features laid out as the AudioSet release out."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

import apache_beam as beam

from pipeline.config import Config, check, make_job
from pipeline.console import own_errors, run_command
from pipeline.folder import FeatureFolder, delete_stale_lists, update_shard_list
from pipeline.graph import (
    ACCOUNT_FILE,
    MANIFEST_FILE,
    REJECTED_LIST,
    RUN_FOLDER,
    UNMATCHED_LIST,
    build_graph,
    run_path,
)
from pipeline.lock import lock_folder
from pipeline.manifest import Account, make_manifest, settings_of
from pipeline.options import make_pipeline, parse_options
from transforms.account import FILE_WITHOUT_SEGMENT, REJECTED, REJECTED_EARLIER, SEGMENT_WITHOUT_FILE
from transforms.files import delete_files, open_file, put_output
from transforms.vggish.precision import CHANGED_BYTES

# Exit statuses beside 0: 1 is a run that could not go on, 2 a mistake in the command.
LOST_CLIPS = 3
MANY_REJECTED = 4


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pipeline, writes the manifest, prints the account.

    Returns:
      The exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
      OutputError, OutOfMemoryError: the run could not go on; what is in the folder is whole.
    """
    options = parse_options(argv)
    pipeline = make_pipeline(options.beam_flags)
    config = check(options)
    with lock_folder(options.output):
        folder = FeatureFolder.at(options.output)
        if options.overwrite:
            folder.clear()
            folder = FeatureFolder.at(options.output)
        folder.check_settings(settings_of(config))
        folder.delete_temporary_files()
        account = _run_locked(pipeline, config, folder)
    print("\n".join(account.lines()))
    print(f"features: {options.output} (account and lists in its folder {RUN_FOLDER})")
    if not account.closes:
        return LOST_CLIPS
    if account.reject_fraction > options.max_reject_fraction:
        print(
            f"rejected {account.reject_fraction:.1%} of the clips, more than "
            f"--max_reject_fraction={options.max_reject_fraction}; see {RUN_FOLDER}/{REJECTED_LIST}-*.jsonl"
        )
        return MANY_REJECTED
    return 0


def _run_locked(pipeline: beam.Pipeline, config: Config, folder: FeatureFolder) -> Account:
    print(f"weights: {config.weights}")
    if config.pca_params:
        print(f"PCA parameters: {config.pca_params}")
    if config.options.precision in CHANGED_BYTES:
        print(f"precision {config.options.precision}: {CHANGED_BYTES[config.options.precision]}")
    started, output = _now(), folder.path
    manifest_path, account_path = run_path(output, MANIFEST_FILE), run_path(output, ACCOUNT_FILE)
    put_output(manifest_path, make_manifest(config, folder, started).encode())
    if config.clips.rejects:
        config = replace(config, clips=replace(config.clips, rejects=folder.keep_tried(config.clips.rejects)))
    with own_errors(), pipeline:
        build_graph(pipeline, make_job(config, bool(folder.shards), folder.lists(REJECTED_LIST)))

    with open_file(account_path) as file:
        account = Account.from_json(json.load(file))
    for name, kinds in (
        (REJECTED_LIST, (REJECTED, REJECTED_EARLIER)),
        (UNMATCHED_LIST, (FILE_WITHOUT_SEGMENT, SEGMENT_WITHOUT_FILE)),
    ):
        delete_stale_lists(output, name, sum(account.total(kind) for kind in kinds))
    clips = update_shard_list(folder)
    manifest = make_manifest(config, folder, started, _now(), account, clips)
    put_output(manifest_path, manifest.encode())
    delete_files([account_path])
    folder.delete_temporary_files()
    return account


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(run_command("pipeline.run", lambda: run(sys.argv[1:])))
