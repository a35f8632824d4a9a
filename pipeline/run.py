"""python -m pipeline.run: reads audio files and writes features in the layout of the AudioSet release."""

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
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import OutputError, SettingError
from transforms.features.open_shard import ShardFile
from transforms.printable import say
from transforms.storage.files import delete_files, open_file, write_output
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.precision import CHANGED_BYTES
from transforms.write_account import FILE_WITHOUT_SEGMENT, REJECTED, REJECTED_EARLIER, SEGMENT_WITHOUT_FILE

# Exit statuses besides 0; 1 is a failed run, 2 a mistake in the command.
LOST_CLIPS = 3
MANY_REJECTED = 4  # also if no clip has features

_LOG = logging.getLogger(__name__)
_MAX_CAUSE_CHARACTERS = 300


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pipeline, writes the manifest, and prints the account.

    Returns:
      The exit status.

    Raises:
      SettingError: a mistake in the command, before any work.
      OutputError, OutOfMemoryError: the run failed; all files in the folder are complete.
    """
    begun = time.monotonic()
    text = early_output(argv)
    if text is not None:
        say(*text.split("\n"))
        return 0
    options = parse_options(argv)
    pipeline = make_pipeline(options.beam_flags)
    if pipeline.options.view_as(TestOptions).dry_run:
        from pipeline.job.dry_run import (  # imports Dataflow's client, which other runs do not need
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
    with lock_folder(options.output, "run the same command again to continue") as lock:
        folder = _begin_folder(config)
        _print_assets(config)
        started = _now()
        delete_input_list(folder.path)
        _write_manifest(make_manifest(config, folder, started), folder)
        samples = _run_graph(pipeline, config, folder, lock)
        if pipeline.options.view_as(StandardOptions).no_wait_until_finish:
            _say(options, "the job is submitted; when it has ended, run the same command again to finish it")
            return 0
        account, shards = _close_lists(folder)
        manifest = make_manifest(config, folder, started, _now(), account, _clips_by_split(shards))
        _write_manifest(manifest, folder)
        report_problem = _write_report(config, manifest, account, shards, samples, time.monotonic() - begun)
        delete_input_list(folder.path)
        folder.end()
    summary = RunSummary(
        account,
        options.output,
        len(shards),
        sum(shard.size_bytes for shard in shards),
        time.monotonic() - begun,
        "" if report_problem else run_path(options.output, REPORT_FILE),
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
    if report_problem:
        say(f"pipeline.run: warning: {report_problem}", file=sys.stderr)
    return status


def _check_folder(folder: FeatureFolder, config: Config) -> None:
    """Raises SettingError if the run must not write to the folder."""
    options = config.options
    splits = {split for split, _ in config.valid.segment_files} or {options.split}
    folder.check_conflicts(splits, config.sharding)
    if not options.overwrite:
        folder.check_settings(settings_of(config))


def _status(account: Account, options: Options) -> int:
    if not account.is_balanced:
        return LOST_CLIPS
    # With --input_rejects, it is normal that all clips are rejected again.
    if options.input and not has_features(account):
        return MANY_REJECTED
    return MANY_REJECTED if account.reject_fraction > options.max_reject_fraction else 0


def _say(options: Options, line: str) -> None:
    say(line, file=sys.stderr if options.json else sys.stdout)


def _begin_folder(config: Config) -> FeatureFolder:
    """Checks the output folder, clears it if the command says so, and prepares it for a run."""
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


def _write_manifest(manifest: str, folder: FeatureFolder) -> None:
    write_output(run_path(folder.path, MANIFEST_FILE), manifest.encode())


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
    progress = show_progress(config.inputs.count, options.example_hop_seconds, options.quiet or not is_here)
    with progress as shown, unwrap_worker_errors(), pipeline:
        progress_folder = shown.folder if is_here else None
        job = build_job(config, bool(folder.shards), folder.earlier_rejects, progress_folder, listed, lock)
        build_graph(pipeline, job)
    return shown.samples if is_here else ()


def _close_lists(folder: FeatureFolder) -> tuple[Account, list[ShardFile]]:
    """Reads the account, deletes outdated lists, and updates the list of shards."""
    with open_file(run_path(folder.path, ACCOUNT_FILE)) as file:
        account = Account.from_json(json.load(file))
    for name, kinds in (
        (REJECTED_LIST, (REJECTED, REJECTED_EARLIER)),
        (UNMATCHED_LIST, (FILE_WITHOUT_SEGMENT, SEGMENT_WITHOUT_FILE)),
    ):
        delete_stale_lists(folder.path, name, sum(account.total(kind) for kind in kinds))
    return account, update_shard_list(folder)


def _clips_by_split(shards: Sequence[ShardFile]) -> Counter[str]:
    clips = Counter[str]()
    for shard in shards:
        clips[shard.path.split("/")[0]] += shard.records
    return clips


def _write_report(
    config: Config,
    manifest: str,
    account: Account,
    shards: Sequence[ShardFile],
    samples: Sequence[Sample],
    wall_s: float,
) -> str:
    """Writes the report.

    The features and lists are already complete, so an error here must not look like a failed run.

    Returns:
      Why the report could not be written and what to do; empty if it was written.
    """
    output = config.options.output
    try:
        from pipeline.report import write_report  # imports matplotlib, which would delay error messages

        write_report(config, json.loads(manifest), account, shards, samples, wall_s)
        return ""
    except Exception as error:
        _LOG.info("the report failed", exc_info=True)
        path, kind = run_path(output, REPORT_FILE), type(error).__name__
        with suppress(*FILE_ERRORS):  # a report of an earlier run would look like the report of this run
            delete_files([path])
        cause = str(error) if isinstance(error, (SettingError, OutputError)) else f"{kind}: {error}"
        cause = " ".join(cause.split())[:_MAX_CAUSE_CHARACTERS]
        flags = " without --overwrite" if config.options.overwrite else ""
        return (
            f"{path}: the report could not be written ({cause}); features and lists are complete; to write "
            f"the report, run the same command{flags} again"
        )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def main() -> int:
    """The command audioset-beam."""
    return run_main("pipeline.run", lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
