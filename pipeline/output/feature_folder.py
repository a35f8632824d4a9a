"""A feature folder before and after a run: what is there, and how it was made."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cli.option_groups import CPU
from pipeline.output.run_files import (
    ACCOUNT_FILE,
    DISPLACED_FILE,
    MANIFEST_FILE,
    REJECTED_LIST,
    REPORT_FILE,
    TRIED_LIST,
    UNMATCHED_LIST,
    WRITTEN_LIST,
    run_path,
)
from transforms.account import list_path, num_files
from transforms.audio.decoder_versions import LIBAVCODEC, LIBSNDFILE
from transforms.audio.dsp.resample import RESAMPY
from transforms.audioset.example import AUDIOSET_SCHEMA
from transforms.audioset.layout import SHARD_SUFFIX, Sharding
from transforms.audioset.own_shards import RUN_FOLDER, SHARDS_FILE
from transforms.errors import OutputError, SettingError
from transforms.features.displaced import find_displaced
from transforms.features.own_shards import ShardNotes, announced_shards, find_shards, relative_path
from transforms.features.sources import SOURCES_FOLDER
from transforms.rejects import RejectFiles, read_list, read_rejected
from transforms.storage.files import (
    delete_files,
    delete_found,
    exists,
    final_path,
    match_files,
    open_file,
    temporary_files,
    write_output,
)
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import escape
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange
from transforms.vggish.precision import FLOAT32

Settings = dict[str, Any]

# Settings that older manifests lack, as runs then had them.
_SETTINGS_BEFORE: Settings = {
    "precision": FLOAT32,
    "resampler": RESAMPY,
    "frontend": CPU,
    "quantization_range": [RELEASED_RANGE.low, RELEASED_RANGE.high],
    "output_schema": AUDIOSET_SCHEMA.name,
    "decoders": {LIBSNDFILE: "1.2", LIBAVCODEC: "62"},
}


# Of what is read of a manifest; each may be missing.
_MANIFEST_TYPES: dict[str, tuple[type, ...]] = {
    "finished": (str, type(None)),
    "clips": (dict, type(None)),
    "history": (list, type(None)),
}
_SHOWN = 80


@dataclass(frozen=True)
class FeatureFolder:
    """What a run finds.

    Attributes:
      path: the folder.
      shards: paths of the shards that its runs wrote, sorted.
      foreign: paths of all other files SPLIT/NAME.tfrecord, sorted; they are left alone.
      has_own_list: whether a file in `_run` says which are which. Otherwise all are foreign.
      manifest: of the last run; None if there was none.
    """

    path: str
    shards: tuple[str, ...]
    foreign: tuple[str, ...]
    has_own_list: bool
    manifest: dict[str, Any] | None

    @classmethod
    def at(cls, path: str) -> "FeatureFolder":
        """The folder as it is now.

        Raises:
          SettingError: it cannot be listed, or its manifest or a list of its shards cannot be read.
        """
        found = find_shards(path)
        return cls(path, found.own, found.foreign, found.has_own_list, read_manifest(path))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The runs so far, the first one first."""
        if self.manifest is None:
            return []
        last = {key: value for key, value in self.manifest.items() if key not in ("history", "clips")}
        return [*(self.manifest.get("history") or ()), last]

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

    def check_room(self, splits: Collection[str], sharding: Sharding) -> None:
        """Checks that no file of somebody else stands where a run may have to put a shard.

        Args:
          splits: those that the command names. Others, which inputs name, are checked when they are written.
          sharding: the run's.

        Raises:
          SettingError: one stands there, or nobody knows which shards are the runs' own.
        """
        if self.foreign and self.manifest is not None and not self.has_own_list:
            raise SettingError(
                f"{run_path(self.path, SHARDS_FILE)}: is missing, and nothing else tells which shards its "
                "runs wrote; restore it from a copy, or give another folder"
            )
        in_the_way = [path for path in self.foreign if _may_be_shard(path, splits, sharding)]
        if in_the_way:
            raise SettingError(
                f"--output={self.path}: {in_the_way[0]} stands where a shard may have to go"
                f"{and_more(in_the_way)}, and no run wrote it, as {RUN_FOLDER}/{SHARDS_FILE} tells; "
                "move it away, or give another folder"
            )

    def clear(self) -> None:
        """Deletes what runs of this pipeline wrote, and nothing else.

        Raises:
          SettingError: there are features without a manifest, which may be anybody's.
          OutputError: something cannot be deleted.
        """
        if self.manifest is None:
            self.check_settings({})
        try:
            self._clear()
        except FILE_ERRORS as error:
            raise OutputError(
                f"{self.path}: what runs wrote there cannot be deleted ({error}); mend it and run the same "
                "command again"
            ) from error

    def _clear(self) -> None:
        delete_files([*self.shards, *self._all_lists()])
        delete_found(match_files(run_path(escape(self.path), f"{SOURCES_FOLDER}/*")))
        # Last, since these tell which shards were a run's own if this process is killed; and no manifest may
        # stay without them.
        ShardNotes(self.path).end()
        names = (REPORT_FILE, ACCOUNT_FILE, DISPLACED_FILE, MANIFEST_FILE, SHARDS_FILE)
        delete_files(run_path(self.path, name) for name in names)

    def begin(self) -> None:
        """Lists the shards that a run finds, and deletes what killed runs left.

        Raises:
          OutputError: a list cannot be written, or what a killed run left cannot be read.
        """
        self._keep_displaced()
        # Before the notes are gone that tell of a shard which a killed run did not put in place.
        self._delete_traces(announced_shards(self.path))
        ShardNotes(self.path).begin(relative_path(path) for path in self.shards)

    def end(self) -> None:
        """Deletes what is of use during a run alone."""
        self._delete_traces({relative_path(path) for path in find_shards(self.path).own})
        delete_files([run_path(self.path, DISPLACED_FILE)])
        ShardNotes(self.path).end()

    @property
    def earlier_rejects(self) -> list[str]:
        """Paths of the lists of clips that earlier runs rejected."""
        displaced = run_path(self.path, DISPLACED_FILE)
        return [*self.lists(REJECTED_LIST), *([displaced] if exists(displaced) else [])]

    def _keep_displaced(self) -> None:
        """Lists the duplicates that a killed run found, before its notes of them are deleted."""
        found = find_displaced(self.path)
        if found:
            path = run_path(self.path, DISPLACED_FILE)
            known = read_rejected(path) if exists(path) else ()
            lines = {json.dumps(clip.to_json(), ensure_ascii=False) for clip in (*known, *found)}
            write_output(path, "".join(f"{line}\n" for line in sorted(lines)).encode())

    def _delete_traces(self, own: Collection[str]) -> None:
        delete_found(path for path in temporary_files(self.path) if _is_own_file(final_path(path), own))
        delete_found(temporary_files(run_path(self.path, "")))
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
            write_output(copy, read_list(path))
        return RejectFiles(tuple(copies), rejects.sha256)

    def _all_lists(self) -> list[str]:
        return [path for name in (REJECTED_LIST, UNMATCHED_LIST, WRITTEN_LIST) for path in self.lists(name)]


def _may_be_shard(path: str, splits: Collection[str], sharding: Sharding) -> bool:
    split, _, file_name = relative_path(path).partition("/")
    return split in splits and sharding.may_name(split, file_name.removesuffix(SHARD_SUFFIX))


def _is_own_file(path: str, own: Collection[str]) -> bool:
    relative = relative_path(path)
    return relative in own or relative.startswith(f"{RUN_FOLDER}/")


def and_more(paths: Sequence[str]) -> str:
    """What stands behind the first of some paths, if there are more."""
    return f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""


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
        if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
            raise ValueError("it lacks settings")
        for name, kinds in _MANIFEST_TYPES.items():
            if not isinstance(manifest.get(name), kinds):
                raise ValueError(f"{name} is {str(manifest[name])[:_SHOWN]}")
        clips = (manifest.get("clips") or {}).values()
        if not all(isinstance(number, int) for number in clips):
            raise ValueError("clips are not counted in whole numbers")
        return manifest
    except (*FILE_ERRORS, ValueError, RecursionError) as error:
        raise SettingError(f"{path}: cannot be read ({error}); restore or remove it") from error


def delete_stale_lists(folder: str, name: str, num_lines: int) -> None:
    """Deletes the files of a list of an earlier run that had another number of lines, and so of files."""
    ending = f"-of-{num_files(num_lines):05d}.jsonl"
    paths = match_files(run_path(escape(folder), f"{name}-*-of-*.jsonl"))
    delete_files(path for path in paths if not path.endswith(ending))
