"""Names of the files in the folder `_run`."""

from apache_beam.io.filesystems import FileSystems

from transforms.audioset.own_shards import RUN_FOLDER

# Lists of JSON lines; each is in one or more files.
REJECTED_LIST = "rejected"
UNMATCHED_LIST = "unmatched"
# The launcher reads these when the pipeline has ended, and deletes them.
WRITTEN_LIST = "written"
ACCOUNT_FILE = "account.json"
# The launcher's list of the inputs, which workers read; the launcher deletes it at the end.
INPUT_LIST = "inputs"
# Copies of the lists of --input_rejects from before the run, which workers read again if an engine repeats
# work.
TRIED_LIST = "tried"
# Duplicates that a killed run found but did not list; the next run that ends lists them.
DISPLACED_FILE = "displaced.jsonl"
MANIFEST_FILE = "manifest.json"
REPORT_FILE = "report.html"


def run_path(output: str, name: str) -> str:
    """Returns the path of a file in the folder `_run`."""
    return FileSystems.join(output, RUN_FOLDER, name)
