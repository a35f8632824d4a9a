"""python -m pipeline.run: audio files in, features laid out as the AudioSet release out."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions, TestOptions

from pipeline.cli.console import unwrap_worker_errors
from pipeline.cli.options import Options, early_output, parse_options
from pipeline.cli.progress_display import Sample, show_progress
from pipeline.cli.text import print_result
from pipeline.graph import build_graph
from pipeline.job.build_job import build_job
from pipeline.job.config import Config, prepare
from pipeline.job.manifest import make_manifest, settings_of
from pipeline.job.no_features import has_features, why_no_features
from pipeline.job.path_checks import delete_input_list
from pipeline.job.plan import make_plan
from pipeline.job.runner import make_pipeline, runs_here
from pipeline.job.summary import RunSummary
from pipeline.job.validate import validate
from pipeline.output.account import Account
from pipeline.output.feature_folder import FeatureFolder, delete_stale_lists
from pipeline.output.lock import lock_folder
from pipeline.output.run_files import (
    ACCOUNT_FILE,
    INPUT_LIST,
    MANIFEST_FILE,
    REJECTED_LIST,
    REPORT_FILE,
    UNMATCHED_LIST,
    run_path,
)
from pipeline.output.shard_list import update_shard_list
from pipeline.process.main import run_main
from transforms.account import FILE_WITHOUT_SEGMENT, REJECTED, REJECTED_EARLIER, SEGMENT_WITHOUT_FILE
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import OutputError, SettingError
from transforms.features.open_shard import ShardFile
from transforms.printable import say
from transforms.storage.files import delete_files, open_file, write_output
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.precision import CHANGED_BYTES

# Exit statuses beside 0: 1 is a run that could not go on, 2 a mistake in the command.
LOST_CLIPS = 3
MANY_REJECTED = 4  # or no clip has features

_LOG = logging.getLogger(__name__)
_CAUSE_SHOWN = 300


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pipeline, writes the manifest, prints the account.

    Returns:
      The exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
      OutputError, OutOfMemoryError: the run could not go on; what is in the folder is whole.
    """
    begun = time.monotonic()
    text = early_output(argv)
    if text is not None:
        say(*text.split("\n"))
        return 0
    options = parse_options(argv)
    pipeline = make_pipeline(options.beam_flags)
    if pipeline.options.view_as(TestOptions).dry_run:
        from pipeline.job.dry_run import (  # Dataflow's client, which no other run needs
            build_offline,
            job_lines,
        )

        say(*job_lines(build_offline(pipeline, options)))
        return 0
    config = prepare(validate(options))
    if options.plan:
        _check_folder(FeatureFolder.at(options.output), config)
        plan = make_plan(config)
        print_result(plan.lines(), plan.to_json(), options.json)
        return 0 if plan.clips or plan.is_estimate else MANY_REJECTED
    with lock_folder(options.output, "the same command goes on where it stopped") as lock:
        folder = FeatureFolder.at(options.output)
        _check_folder(folder, config)
        if options.overwrite:
            folder.clear()
            folder = FeatureFolder.at(options.output)
        folder.begin()
        done = _run_locked(pipeline, config, folder, lock, begun)
    if done is None:
        _say(options, "the job is handed over; when it has ended, the same command closes its account")
        return 0
    account, shards, fault = done
    summary = RunSummary(
        account,
        options.output,
        len(shards),
        sum(shard.size_bytes for shard in shards),
        time.monotonic() - begun,
        "" if fault else run_path(options.output, REPORT_FILE),
        config.inputs.skipped,
    )
    status = _status(account, options)
    print_result(summary.lines(), summary.to_json(status), options.json)
    if options.input and not has_features(account):
        _say(options, why_no_features(options.output, config.clips, account))
    elif status == MANY_REJECTED:
        _say(
            options,
            f"rejected {account.reject_fraction:.1%} of the clips, more than "
            f"--max_reject_fraction={options.max_reject_fraction}; see {RUN_FOLDER}/{REJECTED_LIST}-*.jsonl",
        )
    if fault:
        say(f"pipeline.run: warning: {fault}", file=sys.stderr)
    return status


def _check_folder(folder: FeatureFolder, config: Config) -> None:
    """Raises SettingError if a run may not write into a folder."""
    options = config.options
    splits = {split for split, _ in config.valid.segment_files} or {options.split}
    folder.check_room(splits, config.sharding)
    if not options.overwrite:
        folder.check_settings(settings_of(config))


def _status(account: Account, options: Options) -> int:
    if not account.is_balanced:
        return LOST_CLIPS
    # Of rejects that are tried again all may fail again.
    if options.input and not has_features(account):
        return MANY_REJECTED
    return MANY_REJECTED if account.reject_fraction > options.max_reject_fraction else 0


def _say(options: Options, line: str) -> None:
    say(line, file=sys.stderr if options.json else sys.stdout)


def _run_locked(
    pipeline: beam.Pipeline, config: Config, folder: FeatureFolder, lock: str, begun: float
) -> tuple[Account, list[ShardFile], str] | None:
    """Runs the pipeline to its end; None if it is a service's job that nobody here waits for.

    Returns:
      The account, the folder's shards, and why there is no report (empty if there is one).
    """
    options = config.options
    _say(options, f"weights: {config.assets.weights}")
    if config.assets.pca_params:
        _say(options, f"PCA parameters: {config.assets.pca_params}")
    if options.precision in CHANGED_BYTES:
        _say(options, f"precision {options.precision}: {CHANGED_BYTES[options.precision]}")
    started, output = _now(), folder.path
    delete_input_list(output)
    manifest_path, account_path = run_path(output, MANIFEST_FILE), run_path(output, ACCOUNT_FILE)
    write_output(manifest_path, make_manifest(config, folder, started).encode())
    if config.clips.rejects:
        config = replace(config, clips=replace(config.clips, rejects=folder.keep_tried(config.clips.rejects)))
    listed = config.inputs.write(run_path(output, INPUT_LIST)) if options.input else None
    # A template's job begins when its launcher has ended, which therefore waits for nothing.
    waiting = pipeline.options.view_as(StandardOptions)
    waiting.no_wait_until_finish |= bool(pipeline.options.view_as(GoogleCloudOptions).template_location)
    is_here = runs_here(pipeline)
    hop_s, is_quiet = options.example_hop_seconds, options.quiet or not is_here
    progress = show_progress(config.inputs.count, hop_s, is_quiet)
    with progress as shown, unwrap_worker_errors(), pipeline:
        progress_folder = shown.folder if is_here else None
        job = build_job(config, bool(folder.shards), folder.earlier_rejects, progress_folder, listed, lock)
        build_graph(pipeline, job)
    if waiting.no_wait_until_finish:
        return None

    with open_file(account_path) as file:
        account = Account.from_json(json.load(file))
    for name, kinds in (
        (REJECTED_LIST, (REJECTED, REJECTED_EARLIER)),
        (UNMATCHED_LIST, (FILE_WITHOUT_SEGMENT, SEGMENT_WITHOUT_FILE)),
    ):
        delete_stale_lists(output, name, sum(account.total(kind) for kind in kinds))
    shards = update_shard_list(folder)
    clips = Counter[str]()
    for shard in shards:
        clips[shard.path.split("/")[0]] += shard.records
    manifest = make_manifest(config, folder, started, _now(), account, clips)
    write_output(manifest_path, manifest.encode())
    samples = shown.samples if is_here else ()
    fault = _report(config, manifest, account, shards, samples, time.monotonic() - begun)
    delete_input_list(output)
    folder.end()
    return account, shards, fault


def _report(
    config: Config,
    manifest: str,
    account: Account,
    shards: Sequence[ShardFile],
    samples: Sequence[Sample],
    wall_s: float,
) -> str:
    """Writes the report; returns why it could not, and what to do, or nothing.

    The features and lists are complete by then, so that nothing about a picture may look like a failed run.
    """
    output = config.options.output
    try:
        from pipeline.report import write_report  # it needs matplotlib, for which no mistake has to wait

        write_report(config, json.loads(manifest), account, shards, samples, wall_s)
        return ""
    except Exception as error:
        _LOG.info("the report failed", exc_info=True)
        path, kind = run_path(output, REPORT_FILE), type(error).__name__
        with suppress(*FILE_ERRORS):  # an earlier run's would be taken for this one's
            delete_files([path])
        cause = str(error) if isinstance(error, (SettingError, OutputError)) else f"{kind}: {error}"
        cause = " ".join(cause.split())[:_CAUSE_SHOWN]
        again = " without --overwrite" if config.options.overwrite else ""
        return (
            f"{path}: the report could not be written ({cause}); features and lists are complete, and the "
            f"same command{again} makes the report again"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def main() -> int:
    """The command audioset-beam."""
    return run_main("pipeline.run", lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
