"""A feature folder before and after a run: what is there, how it was made, and its list of shards."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipeline.graph import (
    ACCOUNT_FILE,
    MANIFEST_FILE,
    REJECTED_LIST,
    REPORT_FILE,
    RUN_FOLDER,
    SHARD_NOTES,
    SHARDS_FILE,
    TRIED_LIST,
    UNMATCHED_LIST,
    WRITTEN_LIST,
    run_path,
)
from pipeline.option_groups import CPU
from transforms.account import list_path, num_files
from transforms.audio.decoders import LIBAVCODEC, LIBSNDFILE
from transforms.audio.resample import RESAMPY
from transforms.audioset.example import AUDIOSET_SCHEMA
from transforms.audioset.layout import SHARD_SUFFIX
from transforms.clips import sha256_of
from transforms.errors import OutputError, SettingError
from transforms.files import (
    FILE_ERRORS,
    delete_files,
    exists,
    match_files,
    open_file,
    put_output,
    temporary_files,
)
from transforms.globs import escape
from transforms.rejects import RejectFiles, read_list
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange
from transforms.vggish.precision import FLOAT32
from transforms.write_features import ShardFile
from transforms.written_clips import read_shard_records

Settings = dict[str, Any]

_HASHED_AT_ONCE = 8
# Settings that older manifests lack, as runs then had them.
_SETTINGS_BEFORE = {
    "precision": FLOAT32,
    "resampler": RESAMPY,
    "frontend": CPU,
    "quantization_range": [RELEASED_RANGE.low, RELEASED_RANGE.high],
    "output_schema": AUDIOSET_SCHEMA.name,
    "decoders": {LIBSNDFILE: "1.2", LIBAVCODEC: "62"},
}


@dataclass(frozen=True)
class FeatureFolder:
    """What a run finds.

    Attributes:
      path: the folder.
      shards: paths of the shards, sorted.
      manifest: of the last run; None if there was none.
    """

    path: str
    shards: tuple[str, ...]
    manifest: dict[str, Any] | None

    @classmethod
    def at(cls, path: str) -> "FeatureFolder":
        """The folder as it is now.

        Raises:
          SettingError: it cannot be listed, or its manifest cannot be read.
        """
        try:
            shards = match_files(FileSystems.join(escape(path), "*", f"*{SHARD_SUFFIX}"))
        except (*FILE_ERRORS, ValueError) as error:
            raise SettingError(f"{path}: cannot be listed ({error}); check the path") from error
        return cls(path, tuple(shards), read_manifest(path))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The runs so far, the first one first."""
        if self.manifest is None:
            return []
        last = {key: value for key, value in self.manifest.items() if key not in ("history", "clips")}
        return [*self.manifest.get("history", []), last]

    @property
    def settings(self) -> Settings:
        """What the features were made with; of a folder without a manifest what every release has."""
        return _SETTINGS_BEFORE | (self.manifest["settings"] if self.manifest else {})

    @property
    def quantization(self) -> QuantizationRange:
        """The values that a byte of the features stands for.

        Raises:
          SettingError: the manifest has something else there.
        """
        try:
            low, high = map(float, self.settings["quantization_range"])
            return QuantizationRange(low, high)
        except (TypeError, ValueError) as error:
            path = run_path(self.path, MANIFEST_FILE)
            raise SettingError(f"{path}: cannot be read ({error}); restore or remove it") from error

    def lists(self, name: str) -> list[str]:
        """Paths of the files of one of the last run's lists."""
        return match_files(run_path(escape(self.path), f"{name}-*-of-*.jsonl"))

    def check_settings(self, settings: Settings) -> None:
        """Checks that features made with some settings may stand beside those that are there.

        Raises:
          SettingError: those that are there were made with others, or nobody knows how.
        """
        if not self.shards:
            return
        where = f"--output={self.path}: holds {len(self.shards)} shards"
        if self.manifest is None:
            raise SettingError(
                f"{where}, as {self.shards[0]}, and no {RUN_FOLDER}/{MANIFEST_FILE} that says how they were "
                "made; give another folder"
            )
        made = self.settings
        for name in sorted({*made, *settings}):
            if made.get(name) != settings.get(name):
                raise SettingError(
                    f"{where} made with {name} {made.get(name)}, and this command has {settings.get(name)}; "
                    "give another folder, or --overwrite to make them all anew"
                )

    def clear(self) -> None:
        """Deletes what runs of this pipeline wrote.

        Raises:
          SettingError: there are features without a manifest, which may be anybody's.
        """
        if self.manifest is None:
            self.check_settings({})
        names = (REPORT_FILE, SHARDS_FILE, ACCOUNT_FILE, MANIFEST_FILE)
        delete_files([*self.shards, *self._all_lists(), *(run_path(self.path, name) for name in names)])

    def delete_temporary_files(self) -> None:
        """Deletes what killed processes left beside their shards, and what is of use during a run alone."""
        delete_files(temporary_files(self.path))
        delete_files(match_files(run_path(escape(self.path), f"{SHARD_NOTES}-*")))
        delete_files([*self.lists(WRITTEN_LIST), *self.lists(TRIED_LIST), run_path(self.path, ACCOUNT_FILE)])

    def keep_tried(self, rejects: RejectFiles) -> RejectFiles:
        """Copies lists of rejected clips, which may be this folder's own, that the run replaces.

        Raises:
          SettingError: one of them cannot be read.
          OutputError: a copy cannot be written.
        """
        count = len(rejects.paths)
        copies = [list_path(run_path(self.path, TRIED_LIST), number, count) for number in range(count)]
        for path, copy in zip(rejects.paths, copies, strict=True):
            put_output(copy, read_list(path))
        return RejectFiles(tuple(copies), rejects.sha256)

    def _all_lists(self) -> list[str]:
        return [path for name in (REJECTED_LIST, UNMATCHED_LIST, WRITTEN_LIST) for path in self.lists(name)]


def read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of the last run that wrote to a folder, None if there is none.

    Raises:
      SettingError: it cannot be read.
    """
    path = run_path(folder, MANIFEST_FILE)
    try:
        if not exists(path):
            return None
        with open_file(path) as file:
            manifest = json.load(file)
        if not isinstance(manifest.get("settings"), dict):
            raise ValueError("it lacks settings")
        return manifest
    except (*FILE_ERRORS, ValueError, AttributeError) as error:
        raise SettingError(f"{path}: cannot be read ({error}); restore or remove it") from error


def read_shard_list(paths: Iterable[str]) -> dict[str, ShardFile]:
    """Path below the folder -> shard, from lists of JSON lines."""
    shards = {}
    for path in paths:
        with open_file(path) as file:
            for line in file.read().decode().split("\n"):
                if line:
                    shard = ShardFile(**json.loads(line))
                    shards[shard.path] = shard
    return shards


def update_shard_list(before: FeatureFolder) -> list[ShardFile]:
    """Writes the list of all shards with their checksums, after a run.

    Args:
      before: the folder as the run found it.

    Returns:
      All shards, by path.

    Raises:
      OutputError: the list cannot be written, or a shard cannot be read.
    """
    now = FeatureFolder.at(before.path)
    path = run_path(before.path, SHARDS_FILE)
    known: dict[str, ShardFile] = {}
    # A run that did not come to its end has changed shards and not the list.
    if before.manifest and before.manifest["finished"] and exists(path):
        known = read_shard_list([path])
    known |= read_shard_list(now.lists(WRITTEN_LIST))
    names = ["/".join(shard.split("/")[-2:]) for shard in now.shards]
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        read = pool.map(
            lambda pair: known.get(pair[0]) or _shard_file(*pair), zip(names, now.shards, strict=True)
        )
        shards = list(read)
    lines = [json.dumps(shard.to_json(), ensure_ascii=False) + "\n" for shard in shards]
    put_output(path, "".join(lines).encode())
    delete_files(now.lists(WRITTEN_LIST))
    return shards


def _shard_file(name: str, path: str) -> ShardFile:
    records = len(read_shard_records(path))
    try:
        with open_file(path) as file:
            data = file.read()
    except FILE_ERRORS as error:
        raise OutputError(f"{path}: cannot be read ({error}); run the same command again") from error
    return ShardFile(name, records, len(data), sha256_of(data))


def delete_stale_lists(folder: str, name: str, num_lines: int) -> None:
    """Deletes the files of a list of an earlier run that had another number of lines, and so of files."""
    ending = f"-of-{num_files(num_lines):05d}.jsonl"
    paths = match_files(run_path(escape(folder), f"{name}-*-of-*.jsonl"))
    delete_files(path for path in paths if not path.endswith(ending))
