"""Whether what a command names can be read and written, before any work."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from pipeline.graph import run_path
from transforms.errors import SettingError
from transforms.files import (
    FILE_ERRORS,
    check_reachable,
    delete_files,
    match_files,
    put_file,
)

# Files that are looked at where not all can be.
_SOME_INPUTS = 16


@dataclass(frozen=True)
class Inputs:
    """The files that a run reads, of which there may be millions.

    Attributes:
      count: how many they are.
      some: a few of them, from all over the list.
    """

    count: int
    some: tuple[str, ...]

    @classmethod
    def of(cls, paths: Collection[str]) -> "Inputs":
        ordered = sorted(paths)
        return cls(len(ordered), tuple(ordered[:: max(1, len(ordered) // _SOME_INPUTS)][:_SOME_INPUTS]))


def check_input(patterns: Sequence[str], option: str = "input") -> Inputs:
    """Checks that each glob of an option matches a file.

    Returns:
      The files.

    Raises:
      SettingError: one matches none, or cannot be listed.
    """
    paths = set[str]()
    for pattern in patterns:
        try:
            check_reachable(pattern)
            if found := match_files(pattern):
                paths.update(found)
                continue
        except (*FILE_ERRORS, ValueError) as error:
            raise SettingError(f"--{option}={pattern}: cannot be listed ({error}); check the path") from error
        raise SettingError(
            f"--{option}={pattern}: matches no file; give a glob, as FOLDER/*.wav, "
            "or FOLDER/** for all below it"
        )
    return Inputs.of(paths)


def check_output(output: str, *shards: str) -> None:
    """Raises SettingError if a folder cannot be made and written, or holds files that match `shards`."""
    _check_writable(output, run_path(output, "probe"))
    found = [path for pattern in shards for path in match_files(FileSystems.join(output, pattern))]
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
        check_reachable(output)
        put_file(probe, b"can be written\n")
        delete_files([probe])
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"--output={output}: cannot be written ({error}); give another place") from error
