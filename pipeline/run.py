"""python -m pipeline.run: audio files in, features laid out as the AudioSet release out."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

from apache_beam.io.filesystems import FileSystems

from pipeline.config import check
from pipeline.console import run_command
from pipeline.graph import COUNTS_FILE, MANIFEST_FILE, RUN_FOLDER, build_graph, run_path
from pipeline.manifest import Account, make_manifest
from pipeline.options import make_pipeline, parse_options
from transforms.files import open_file, put_file

# Exit statuses beside 0; 2 is a mistake in the command.
LOST_CLIPS = 3


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pipeline, writes the manifest, prints the account.

    Returns:
      The exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
    """
    options = parse_options(argv)
    pipeline = make_pipeline(options.beam_flags)
    config = check(options)
    print(f"weights: {config.weights}")
    if config.pca_params:
        print(f"PCA parameters: {config.pca_params}")
    started = _now()
    with pipeline:
        build_graph(pipeline, config.job)

    counts_path = run_path(options.output, COUNTS_FILE)
    with open_file(counts_path) as file:
        account = Account.from_rows(json.load(file))
    manifest = make_manifest(config, account, started, _now())
    put_file(run_path(options.output, MANIFEST_FILE), manifest.encode())
    FileSystems.delete([counts_path])
    print("\n".join(account.lines()))
    print(f"features: {options.output} (account and lists in its folder {RUN_FOLDER})")
    return 0 if account.closes else LOST_CLIPS


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(run_command("pipeline.run", lambda: run(sys.argv[1:])))
