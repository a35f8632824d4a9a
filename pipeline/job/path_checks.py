"""Checks before any work that the inputs of a command can be read and its output written."""

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from pipeline.output.run_files import run_path
from transforms.audioset.layout import SHARD_SUFFIX
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import SettingError
from transforms.features.folder_shards import find_shards
from transforms.inputs.input_list import InputList, write_input_list
from transforms.printable import counted
from transforms.storage.files import delete_files, is_local, match_files, write_atomic
from transforms.storage.filesystems import FILE_ERRORS, check_reachable
from transforms.storage.globs import escape
from transforms.storage.listing import list_files

# Number of files to sample when checking all would be too slow.
_SAMPLED_INPUTS = 16


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run, listed once. Each file takes about 150 bytes of memory.

    Attributes:
      paths, sizes: sorted paths of the files, and the size of each in bytes.
      problems: (path, cause) of what could not be listed, sorted; see `Listing`.
      hidden: number of files and folders that were skipped because their names begin with a dot.
    """

    paths: Sequence[str] = ()
    sizes: Sequence[int] = ()
    problems: tuple[tuple[str, str], ...] = ()
    hidden: int = 0

    @property
    def some(self) -> Sequence[str]:
        """At most 16 files, evenly spread over the list."""
        return self.paths[:: max(1, len(self.paths) // _SAMPLED_INPUTS)][:_SAMPLED_INPUTS]

    @property
    def skipped(self) -> str:
        """Text that describes the skipped names; empty if there are none."""
        names = counted(self.hidden, "name that begins", "names that begin")
        return f"{names} with a dot" if self.hidden else ""

    def write(self, path: str) -> InputList:
        """Writes the list to files with this path prefix, for the workers.

        Raises:
          OutputError: the list cannot be written.
        """
        return write_input_list(path, list(zip(self.paths, self.sizes, strict=True)), self.problems)


def check_input(patterns: Sequence[str], option: str = "input", output: str | None = None) -> Inputs:
    """Lists the files that an option's globs match, and checks that each glob matches at least one file.

    The shards and lists that runs wrote to the feature folder `output` are not inputs.

    Raises:
      SettingError: a glob matches no file, or cannot be listed.
    """
    sizes, problems, hidden = dict[str, int](), dict[str, str](), 0
    for pattern in patterns:
        given = f"--{option}={pattern}"
        try:
            check_reachable(pattern)
            listing = list_files(pattern)
        except (*FILE_ERRORS, ValueError) as error:
            raise SettingError(f"{given}: cannot be listed ({error}); check the path") from error
        num_files = len(listing.files)
        if output is not None:
            listing.files = _without_own(listing.files, output)
        if not listing.files and not listing.faults:
            exception = ""
            if num_files:
                exception = f" except {num_files:,} of --output itself"
            elif listing.hidden:
                exception = f" except hidden names ({listing.hidden:,}); they need a glob such as FOLDER/.*"
            raise SettingError(
                f"{given}: matches no file{exception}; give a glob such as FOLDER/*.wav, or FOLDER/** to "
                "include subfolders"
            )
        sizes.update(listing.files)
        problems.update(listing.faults)
        hidden += listing.hidden
    paths = sorted(sizes)
    return Inputs(paths, array("q", map(sizes.__getitem__, paths)), tuple(sorted(problems.items())), hidden)


def _without_own(files: Iterable[tuple[str, int]], output: str) -> list[tuple[str, int]]:
    """Returns the files without those that runs wrote to the feature folder `output`.

    Raises:
      SettingError: the folder cannot be listed.
    """
    root = _real_path(output).rstrip("/")
    own = {_real_path(path) for path in find_shards(output).own}
    folders = dict[str, str]()

    def is_own(path: str) -> bool:
        if not path.endswith(SHARD_SUFFIX) and f"/{RUN_FOLDER}/" not in f"/{path}":
            return False
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = _real_path(folder or ("/" if path.startswith("/") else "."))
        real = f"{folders[folder].rstrip('/')}/{name}"
        return real in own or real.startswith(f"{root}/{RUN_FOLDER}/")

    return [found for found in files if not is_own(found[0])]


def _real_path(path: str) -> str:
    return os.path.realpath(path) if is_local(path) else path.rstrip("/")


def check_output(output: str, *shards: str) -> None:
    """Raises SettingError if a folder cannot be created or written, or has files that match `shards`."""
    _check_writable(output, run_path(output, "probe"))
    found = [path for pattern in shards for path in match_files(FileSystems.join(escape(output), pattern))]
    if found:
        raise SettingError(
            f"--output={output}: already contains {counted(len(found), 'shard')}, such as {found[0]}; "
            "give another folder or delete them"
        )


def check_output_file(output: str) -> None:
    """Raises SettingError if a file with this name, or with a suffix added to it, cannot be written."""
    _check_writable(output, f"{output}.probe")


def _check_writable(output: str, probe: str) -> None:
    try:
        output.encode()
    except UnicodeEncodeError as error:  # Beam encodes paths as UTF-8
        raise SettingError(f"--output={output}: its name is not UTF-8; give another path") from error
    try:
        check_reachable(output)
        try:
            write_atomic(probe, b"can be written\n")
        except FileNotFoundError:  # a run that begins there now took the temporary file for a killed run's
            write_atomic(probe, b"can be written\n")
        delete_files([probe])
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"--output={output}: cannot be written ({error}); give another path") from error
