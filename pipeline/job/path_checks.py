"""Whether what a command names can be read and written, before any work."""

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from pipeline.output.run_files import INPUT_LIST, run_path
from transforms.audioset.layout import SHARD_SUFFIX
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import SettingError
from transforms.features.own_shards import find_shards
from transforms.inputs.input_list import InputList, write_input_list
from transforms.storage.files import check_reachable, delete_files, is_local, match_files, write_atomic
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import escape
from transforms.storage.listing import list_files

# Files that are looked at where not all can be.
_SOME_INPUTS = 16


@dataclass(frozen=True)
class Inputs:
    """What a run reads, listed once; of millions of files it takes some 150 bytes each.

    Attributes:
      paths: of the files, sorted.
      sizes: of each, in bytes; empty where nobody has asked.
      faults: (path, cause), as of `Listing`, sorted.
      hidden: files and folders left out since their names begin with a dot.
    """

    paths: Sequence[str] = ()
    sizes: Sequence[int] = ()
    faults: tuple[tuple[str, str], ...] = ()
    hidden: int = 0

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self.paths)

    @property
    def some(self) -> Sequence[str]:
        """A few of the files, from all over the list."""
        return self.paths[:: max(1, self.count // _SOME_INPUTS)][:_SOME_INPUTS]

    @property
    def skipped(self) -> str:
        """What was left out, for a person; empty if nothing was."""
        names = "name that begins" if self.hidden == 1 else "names that begin"
        return f"{self.hidden:,} {names} with a dot" if self.hidden else ""

    def write(self, path: str) -> InputList:
        """Hands them on to the workers, in files of this path.

        Raises:
          OutputError: it cannot be written.
        """
        return write_input_list(path, list(zip(self.paths, self.sizes, strict=True)), self.faults)


def check_input(patterns: Sequence[str], option: str = "input", output: str | None = None) -> Inputs:
    """Lists what an option's globs match, and checks that each matches something.

    Args:
      patterns: the globs.
      option: its name.
      output: a folder whose own files are no inputs: the run's, and its shards of features.

    Raises:
      SettingError: one matches nothing, or cannot be listed.
    """
    sizes, faults, hidden = dict[str, int](), dict[str, str](), 0
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
            but = ""
            if num_files:
                but = f" but {num_files:,} of --output itself"
            elif listing.hidden:
                but = f" but {listing.hidden:,} hidden, which a glob has to name, as in FOLDER/.*"
            raise SettingError(
                f"{given}: matches no file{but}; give a glob, as FOLDER/*.wav, or FOLDER/** for all below it"
            )
        sizes.update(listing.files)
        faults.update(listing.faults)
        hidden += listing.hidden
    paths = sorted(sizes)
    return Inputs(paths, array("q", map(sizes.__getitem__, paths)), tuple(sorted(faults.items())), hidden)


def delete_input_list(output: str) -> None:
    """Deletes the list of a run that has ended, or was killed."""
    delete_files(match_files(f"{escape(run_path(output, INPUT_LIST))}-*-of-*.jsonl"))


def _without_own(files: Iterable[tuple[str, int]], output: str) -> list[tuple[str, int]]:
    """Files that no run wrote into a folder of features.

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
    """Raises SettingError if a folder cannot be made and written, or holds files that match `shards`."""
    _check_writable(output, run_path(output, "probe"))
    found = [path for pattern in shards for path in match_files(FileSystems.join(escape(output), pattern))]
    if found:
        raise SettingError(
            f"--output={output}: holds {len(found)} shards already, as {found[0]}; "
            "give another folder or remove them"
        )


def check_output_file(output: str) -> None:
    """Raises SettingError if a file of this name, or with more behind it, cannot be written."""
    _check_writable(output, f"{output}.probe")


def _check_writable(output: str, probe: str) -> None:
    try:
        output.encode()
    except UnicodeEncodeError as error:  # Beam carries paths as UTF-8
        raise SettingError(f"--output={output}: its name is not UTF-8; give another place") from error
    try:
        check_reachable(output)
        write_atomic(probe, b"can be written\n")
        delete_files([probe])
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"--output={output}: cannot be written ({error}); give another place") from error
