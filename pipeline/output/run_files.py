"""Names of the files in `_run/`."""

from apache_beam.io.filesystems import FileSystems

from transforms.audioset.own_shards import RUN_FOLDER

# Lists of JSON lines, each in one or more files.
REJECTED_LIST = "rejected"
UNMATCHED_LIST = "unmatched"
# What the launcher reads when the pipeline has ended, and deletes.
WRITTEN_LIST = "written"
ACCOUNT_FILE = "account.json"
# What workers read: the launcher's list of the inputs, deleted by it at the end.
INPUT_LIST = "inputs"
# A list as it was before the run, which workers read again where an engine repeats work.
TRIED_LIST = "tried"
# Duplicates that a killed run did not come to list; the next run that comes to its end lists them.
DISPLACED_FILE = "displaced.jsonl"
MANIFEST_FILE = "manifest.json"
REPORT_FILE = "report.html"


def run_path(output: str, name: str) -> str:
    """Path of one of the run's own files."""
    return FileSystems.join(output, RUN_FOLDER, name)
