"""Names of the files in the folder `_run`, and readers of its lists."""

from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems

from transforms.audioset.own_shards import RUN_FOLDER
from transforms.storage.files import delete_files, match_files, open_file
from transforms.storage.globs import escape
from transforms.write_account import num_files

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
REPORT_FILE = "report.html"
LOG_FILE = "log.txt"


def run_path(output: str, name: str) -> str:
    """Returns the path of a file in the folder `_run`."""
    return FileSystems.join(output, RUN_FOLDER, name)


def list_files(output: str, name: str) -> list[str]:
    """Returns the sorted paths of the files of a list of JSON lines."""
    return match_files(f"{escape(run_path(output, name))}-*-of-*.jsonl")


def delete_input_list(output: str) -> None:
    """Deletes the input list of a run that has ended or was killed."""
    delete_files(list_files(output, INPUT_LIST))


def delete_stale_lists(folder: str, name: str, num_lines: int) -> None:
    """Deletes the files of an earlier run's list if it had a different number of files than the new list."""
    ending = f"-of-{num_files(num_lines):05d}.jsonl"
    delete_files(path for path in list_files(folder, name) if not path.endswith(ending))


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields the number and the text of each line of a file of JSON lines, from 1, without empty lines.

    Raises:
      One of FILE_ERRORS.
    """
    with open_file(path) as file:
        # Not splitlines: a name in a line may contain other line separators.
        for number, line in enumerate(file.read().split(b"\n"), 1):
            if line:
                yield number, line
