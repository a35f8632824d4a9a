"""The list of all shards of a feature folder with their checksums, and the list's own, the folder's root."""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.run_files import WRITTEN_LIST, list_files, read_lines, run_path
from transforms.audioset.own_shards import SHARDS_FILE
from transforms.clips import sha256_of
from transforms.errors import OutputError, SettingError
from transforms.features.existing_records import read_shard_records
from transforms.features.folder_shards import relative_path
from transforms.features.open_shard import ShardFile
from transforms.printable import json_text
from transforms.storage.files import delete_files, exists, read_file, write_output
from transforms.storage.filesystems import FILE_ERRORS

_HASHED_AT_ONCE = 8


def read_shard_list(paths: Iterable[str]) -> dict[str, ShardFile]:
    """Reads lists of shards, and returns path relative to the folder -> shard.

    Raises:
      SettingError: a list cannot be read, or a line does not describe a shard.
    """
    shards = {}
    for path in paths:
        try:
            for number, line in read_lines(path):
                shard = _parse(line, number)
                shards[shard.path] = shard
        except (*FILE_ERRORS, ValueError) as error:
            raise SettingError(
                f"{path}: cannot be read as a list of shards ({error}); restore it from a copy"
            ) from error
    return shards


def _parse(line: bytes, number: int) -> ShardFile:
    try:
        row = json.loads(line)
        # Later versions may add fields.
        shard = ShardFile(row["path"], row["records"], row["size_bytes"], row["sha256"])
        if [type(value) for value in shard.to_json().values()] != [str, int, int, str]:
            raise TypeError("a value has a wrong type")
        return shard
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"line {number}: {error!r}") from error


def root_of(shards: Sequence[ShardFile]) -> str:
    """Returns the root of a feature folder: the SHA-256, in hex, of the list of its shards.

    Two folders have the same root if and only if they have the same shards, byte for byte. It is also what
    `sha256sum _run/shards.jsonl` prints.

    Args:
      shards: all of the folder, sorted by path.
    """
    return sha256_of(_list_text(shards))


def _list_text(shards: Sequence[ShardFile]) -> bytes:
    return "".join(f"{json_text(shard.to_json())}\n" for shard in shards).encode()


def update_shard_list(before: FeatureFolder) -> list[ShardFile]:
    """Writes the list of all shards with their checksums, after a run, and returns the shards sorted by path.

    Args:
      before: the folder as it was before the run.

    Raises:
      OutputError: the list cannot be written, or a shard cannot be read.
    """
    now = FeatureFolder.at(before.path)
    path = run_path(before.path, SHARDS_FILE)
    known: dict[str, ShardFile] = {}
    # An unfinished run may have changed shards without updating the list.
    if before.manifest and before.manifest.get("finished") and exists(path):
        known = read_shard_list([path])
    just_written = list_files(before.path, WRITTEN_LIST)
    known |= read_shard_list(just_written)
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        found = pool.map(lambda shard: known.get(relative_path(shard)) or _shard_file(shard), now.shards)
        shards = list(found)
    write_output(path, _list_text(shards))
    delete_files(just_written)
    return shards


def _shard_file(path: str) -> ShardFile:
    records = len(read_shard_records(path))
    try:
        data = read_file(path)
    except FILE_ERRORS as error:
        raise OutputError(f"{path}: cannot be read ({error}); run the same command again") from error
    return ShardFile(relative_path(path), records, len(data), sha256_of(data))
