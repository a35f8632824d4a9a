"""python -m pipeline.run: reads audio files and writes features in the layout of the AudioSet release."""

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions, TestOptions

from pipeline.cli.console import unwrap_worker_errors
from pipeline.cli.options import Options, parse_options, print_early
from pipeline.cli.progress_display import Sample, show_progress
from pipeline.cli.run_log import RUN_LOG, run_log
from pipeline.cli.text import print_result
from pipeline.graph import build_graph
from pipeline.job.build_job import build_job
from pipeline.job.config import Config, prepare
from pipeline.job.manifest import make_manifest, settings_of, shown_options
from pipeline.job.no_features import has_features, why_no_features
from pipeline.job.plan import make_plan
from pipeline.job.runner import describe_runner, make_pipeline, runs_here
from pipeline.job.summary import RunSummary
from pipeline.job.validate import validate
from pipeline.output.account import Account
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.lock import lock_folder
from pipeline.output.run_files import (
    INPUT_LIST,
    LOG_FILE,
    REJECTED_LIST,
    REPORT_FILE,
    UNMATCHED_LIST,
    delete_input_list,
    delete_stale_lists,
    run_path,
)
from pipeline.output.shard_list import root_of, update_shard_list
from pipeline.process.main import run_main
from transforms.audioset.own_shards import MANIFEST_FILE, RUN_FOLDER
from transforms.errors import OutputError, SettingError
from transforms.features.open_shard import ShardFile
from transforms.printable import Attention, json_text, say
from transforms.storage.files import delete_files, write_output
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.precision import CHANGED_BYTES
from transforms.write_account import FILE_WITHOUT_SEGMENT, REJECTED, REJECTED_EARLIER, SEGMENT_WITHOUT_FILE

# Exit statuses besides 0; 1 is a failed run, 2 a mistake in the command.
LOST_CLIPS = 3
MANY_REJECTED = 4  # also if no clip has features

_LOG = logging.getLogger(__name__)
_MAX_CAUSE_CHARACTERS = 300


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pipeline, prints the account, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
      OutputError, OutOfMemoryError: the run failed; all files in the folder are complete.
    """
    begun, started = time.monotonic(), _now()
    if print_early(argv):
        return 0
    options = parse_options(argv)
    pipeline = make_pipeline(options.beam_flags)
    if pipeline.options.view_as(TestOptions).dry_run:
        from pipeline.job import dry_run  # imports Dataflow's client, which other runs do not need

        say(*dry_run.job_lines(dry_run.build_offline(pipeline, options)))
        return 0
    config = prepare(validate(options))
    if options.plan:
        _check_folder(FeatureFolder.at(options.output), config)
        plan = make_plan(config)
        print_result(plan.lines(), plan.to_json(), options.json)
        return 0 if plan.clips or plan.is_estimate else MANY_REJECTED
    with lock_folder(options.output, "run the same command again to continue") as lock:
        folder = _begin_folder(config)
        with run_log(run_path(folder.path, LOG_FILE)):
            RUN_LOG.info("options: %s", json_text(shown_options(asdict(options))))
            runner = describe_runner(pipeline)
            _say(options, f"runner: {runner}")
            _print_assets(config)
            delete_input_list(folder.path)
            manifest_path = run_path(folder.path, MANIFEST_FILE)
            write_output(manifest_path, make_manifest(config, folder, runner, started).encode())
            samples = _run_graph(pipeline, config, folder, lock)
            if pipeline.options.view_as(StandardOptions).no_wait_until_finish:
                _say(options, "the job is submitted; when it has ended, run the same command again to finish")
                return 0
            account, shards = _close_lists(folder)
            manifest = make_manifest(config, folder, runner, started, _now(), account, shards)
            write_output(manifest_path, manifest.encode())
            wall_s = time.monotonic() - begun
            for line in account.lines():
                RUN_LOG.info(line)
            report_problem = _write_report(config, manifest, account, shards, samples, wall_s)
            delete_input_list(folder.path)
            folder.end()
            if report_problem:
                RUN_LOG.warning(report_problem)
    summary = RunSummary(
        account,
        options.output,
        len(shards),
        sum(shard.size_bytes for shard in shards),
        root_of(shards),
        wall_s,
        "" if report_problem else run_path(options.output, REPORT_FILE),
        config.inputs.skipped,
    )
    # With --input_rejects, it is normal that all clips are rejected again.
    has_none = bool(options.input) and not has_features(account)
    many_rejected = account.reject_fraction > options.max_reject_fraction
    status = MANY_REJECTED if has_none or many_rejected else 0
    if not account.is_balanced:
        status = LOST_CLIPS
    print_result(summary.lines(), summary.to_json(status), options.json)
    if has_none:
        _say(options, Attention(why_no_features(options.output, config.clips, account)))
    elif status == MANY_REJECTED:
        _say(
            options,
            Attention(
                f"rejected {account.reject_fraction:.1%} of the clips, more than --max_reject_fraction="
                f"{options.max_reject_fraction}; see {RUN_FOLDER}/{REJECTED_LIST}-*.jsonl"
            ),
        )
    if report_problem:
        say(Attention(f"pipeline.run: warning: {report_problem}"), file=sys.stderr)
    return status


def _check_folder(folder: FeatureFolder, config: Config) -> None:
    """Raises SettingError if the run must not write to the folder."""
    options = config.options
    splits = {split for split, _ in config.valid.segment_files} or {options.split}
    folder.check_conflicts(splits, config.sharding)
    if not options.overwrite:
        folder.check_settings(settings_of(config))


def _say(options: Options, line: str) -> None:
    RUN_LOG.info(line)
    say(line, file=sys.stderr if options.json else sys.stdout)


def _begin_folder(config: Config) -> FeatureFolder:
    """Checks the output folder, clears it for --overwrite, and prepares it for a run."""
    options = config.options
    folder = FeatureFolder.at(options.output)
    _check_folder(folder, config)
    if options.overwrite:
        folder.clear()
        folder = FeatureFolder.at(options.output)
    folder.begin()
    return folder


def _print_assets(config: Config) -> None:
    options = config.options
    _say(options, f"weights: {config.assets.weights}")
    if config.assets.pca_params:
        _say(options, f"PCA parameters: {config.assets.pca_params}")
    if options.precision in CHANGED_BYTES:
        _say(options, f"precision {options.precision}: {CHANGED_BYTES[options.precision]}")


def _run_graph(pipeline: beam.Pipeline, config: Config, folder: FeatureFolder, lock: str) -> Sequence[Sample]:
    """Runs the pipeline to its end, or submits it if `no_wait_until_finish` is set.

    Returns:
      Progress samples; none if the workers are on other machines.
    """
    options = config.options
    if config.clips.rejects:
        config = replace(config, clips=replace(config.clips, rejects=folder.keep_tried(config.clips.rejects)))
    listed = config.inputs.write(run_path(folder.path, INPUT_LIST)) if options.input else None
    # The job of a template starts only after its launcher has ended, so the launcher must not wait for it.
    waiting = pipeline.options.view_as(StandardOptions)
    waiting.no_wait_until_finish |= bool(pipeline.options.view_as(GoogleCloudOptions).template_location)
    is_here = runs_here(pipeline)
    num_files, is_quiet = len(config.inputs.paths), options.quiet or not is_here
    progress = show_progress(num_files, options.example_hop_seconds, is_quiet)
    with progress as shown, unwrap_worker_errors(), pipeline:
        progress_folder = shown.folder if is_here else None
        job = build_job(config, bool(folder.shards), folder.earlier_rejects, progress_folder, listed, lock)
        build_graph(pipeline, job)
    return shown.samples if is_here else ()


def _close_lists(folder: FeatureFolder) -> tuple[Account, list[ShardFile]]:
    """Reads the account, deletes outdated lists, and updates the list of shards."""
    account = Account.read(folder.path)
    rejected = account.total(REJECTED) + account.total(REJECTED_EARLIER)
    delete_stale_lists(folder.path, REJECTED_LIST, rejected)
    unmatched = account.total(FILE_WITHOUT_SEGMENT) + account.total(SEGMENT_WITHOUT_FILE)
    delete_stale_lists(folder.path, UNMATCHED_LIST, unmatched)
    return account, update_shard_list(folder)


def _write_report(
    config: Config,
    manifest: str,
    account: Account,
    shards: Sequence[ShardFile],
    samples: Sequence[Sample],
    wall_s: float,
) -> str:
    """Writes the report; returns why it could not be written and what to do, or an empty string.

    The features and lists are already complete, so an error here must not look like a failed run.
    """
    output = config.options.output
    try:
        from pipeline.report import write_report  # imports matplotlib, which would delay error messages

        write_report(config, json.loads(manifest), account, shards, samples, wall_s)
        return ""
    except Exception as error:
        _LOG.info("the report failed", exc_info=True)
        path = run_path(output, REPORT_FILE)
        with suppress(*FILE_ERRORS):  # a report of an earlier run would look like the report of this run
            delete_files([path])
        kind = "" if isinstance(error, (SettingError, OutputError)) else f"{type(error).__name__}: "
        cause = " ".join(f"{kind}{error}".split())[:_MAX_CAUSE_CHARACTERS]
        flags = " without --overwrite" if config.options.overwrite else ""
        return (
            f"{path}: the report could not be written ({cause}); features and lists are complete; to write "
            f"the report, run the same command{flags} again"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(run_main("pipeline.run", lambda: run(sys.argv[1:])))
