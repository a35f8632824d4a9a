"""The state of a feature folder before and after a run: its shards, and the settings that made them."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pipeline.cli.option_groups import CPU
from pipeline.output.run_files import (
    ACCOUNT_FILE,
    DISPLACED_FILE,
    REJECTED_LIST,
    REPORT_FILE,
    TRIED_LIST,
    UNMATCHED_LIST,
    WRITTEN_LIST,
    list_files,
    run_path,
)
from transforms.audio.decoder_versions import LIBAVCODEC, LIBSNDFILE
from transforms.audio.resamplers import RESAMPY
from transforms.audioset.layout import SHARD_SUFFIX, Sharding
from transforms.audioset.own_shards import MANIFEST_FILE, RUN_FOLDER, SHARDS_FILE
from transforms.audioset.schemas import AUDIOSET_SCHEMA, SCHEMAS, Schema
from transforms.errors import OutputError, SettingError
from transforms.features.displaced import find_displaced
from transforms.features.folder_shards import ShardNotes, announced_shards, find_shards, relative_path
from transforms.features.sources import SOURCES_FOLDER
from transforms.printable import counted
from transforms.rejects import RejectFiles, read_rejected
from transforms.storage.files import (
    delete_files,
    delete_found,
    exists,
    final_path,
    match_files,
    open_file,
    read_given,
    temporary_files,
    write_output,
)
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.globs import escape
from transforms.vggish.params import Framing
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange
from transforms.vggish.precision import FLOAT32
from transforms.write_account import list_path

Settings = dict[str, Any]

# Settings that older manifests lack, with the values that runs had at that time.
_DEFAULT_SETTINGS: Settings = {
    "precision": FLOAT32,
    "resampler": RESAMPY,
    "frontend": CPU,
    "quantization_range": [RELEASED_RANGE.low, RELEASED_RANGE.high],
    "output_schema": AUDIOSET_SCHEMA.name,
    "decoders": {LIBSNDFILE: "1.2", LIBAVCODEC: "62"},
}
# Types of the manifest's fields that are read, besides its settings; each may be missing.
_MANIFEST_TYPES: dict[str, Any] = {"finished": str, "clips": dict, "history": list}
_SHOWN = 80
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class FeatureFolder:
    """A feature folder at one time.

    Attributes:
      path: the folder.
      shards: paths of the shards that its runs wrote, sorted.
      foreign: paths of all other files SPLIT/NAME.tfrecord, sorted; runs never change them.
      has_own_list: whether a file in `_run` lists the shards that runs wrote. Otherwise all are foreign.
      manifest: the manifest of the last run; None if there is none.
    """

    path: str
    shards: tuple[str, ...]
    foreign: tuple[str, ...]
    has_own_list: bool
    manifest: dict[str, Any] | None

    @classmethod
    def at(cls, path: str) -> "FeatureFolder":
        """Reads the current state of a folder.

        Raises:
          SettingError: it cannot be listed, or its manifest or a list of its shards cannot be read.
        """
        found = find_shards(path)
        return cls(path, found.own, found.foreign, found.has_own_list, read_manifest(path))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The runs so far, from first to last."""
        if self.manifest is None:
            return []
        last = {key: value for key, value in self.manifest.items() if key not in ("history", "clips")}
        return [*(self.manifest.get("history") or ()), last]

    @property
    def settings(self) -> Settings:
        """The settings of the features; without a manifest, those of older runs and of releases."""
        return _DEFAULT_SETTINGS | (self.manifest["settings"] if self.manifest else {})

    @property
    def quantization(self) -> QuantizationRange:
        """The range of values that the bytes of the features represent.

        Raises:
          SettingError: the manifest contains an invalid range; likewise for the next two.
        """
        with _reading_manifest(self.path):
            low, high = map(float, self.settings["quantization_range"])
            return QuantizationRange(low, high)

    @property
    def framing(self) -> Framing:
        """The window and hop of the features."""
        with _reading_manifest(self.path):
            return Framing(hop_s=self.settings.get("example_hop_seconds", Framing.hop_s))

    @property
    def pads_short(self) -> bool:
        """Whether clips shorter than one frame have one."""
        return self.settings.get("pad_short") is not None

    @property
    def schema(self) -> Schema:
        """The keys of the records."""
        name = str(self.settings["output_schema"])
        with _reading_manifest(self.path):
            if name not in SCHEMAS:
                raise ValueError(f"output_schema {name!r} is not one of {', '.join(SCHEMAS)}")
            return SCHEMAS[name]

    def check_settings(self, settings: Settings) -> None:
        """Checks that the existing features were made with the same settings as a new run.

        Raises:
          SettingError: they were made with different or unknown settings.
        """
        if not self.shards:
            return
        where = f"--output={self.path}: contains {counted(len(self.shards), 'shard')}"
        if self.manifest is None:
            raise SettingError(
                f"{where}, such as {self.shards[0]}, but no {RUN_FOLDER}/{MANIFEST_FILE} with their "
                "settings; give another folder"
            )
        made = self.settings
        differing = [
            f"with {name} {_shown(made.get(name))}, but this command has {_shown(settings.get(name))}"
            for name in sorted({*made, *settings})
            if made.get(name) != settings.get(name)
        ]
        if differing:
            raise SettingError(
                f"{where} made {' and '.join(differing)}; give another folder, or --overwrite to compute all "
                "features again"
            )

    def check_conflicts(self, splits: Collection[str], sharding: Sharding) -> None:
        """Checks that no foreign file has the path of a shard that a run may write.

        `splits` are those that the command names. Splits named by inputs are checked when they are written.

        Raises:
          SettingError: there is such a file, or it is unknown which shards the runs wrote.
        """
        if self.foreign and self.manifest is not None and not self.has_own_list:
            raise SettingError(
                f"{run_path(self.path, SHARDS_FILE)}: is missing, so it is unknown which shards the runs "
                "wrote; restore it from a copy, or give another folder"
            )
        conflicts = [path for path in self.foreign if _may_be_shard(path, splits, sharding)]
        if conflicts:
            raise SettingError(
                f"--output={self.path}: {conflicts[0]} has the path of a shard that this run may write"
                f"{and_more(conflicts)}, but {RUN_FOLDER}/{SHARDS_FILE} does not list it as written by a "
                "run; move it away, or give another folder"
            )

    def clear(self) -> None:
        """Deletes the files that runs of this pipeline wrote, and nothing else.

        Raises:
          SettingError: there are features without a manifest, so their origin is unknown.
          OutputError: a file cannot be deleted.
        """
        if self.manifest is None:
            self.check_settings({})
        try:
            lists = [list_files(self.path, name) for name in (REJECTED_LIST, UNMATCHED_LIST, WRITTEN_LIST)]
            delete_files([*self.shards, *chain(*lists)])
            delete_found(match_files(run_path(escape(self.path), f"{SOURCES_FOLDER}/*")))
            # These come last: if this process is killed, they still list the shards that runs wrote. The
            # manifest must not outlive them.
            ShardNotes(self.path).end()
            names = (REPORT_FILE, ACCOUNT_FILE, DISPLACED_FILE, MANIFEST_FILE, SHARDS_FILE)
            delete_files(run_path(self.path, name) for name in names)
        except FILE_ERRORS as error:
            raise OutputError(
                f"{self.path}: the files of earlier runs cannot be deleted ({error}); fix this and run the "
                "same command again"
            ) from error

    def begin(self) -> None:
        """Records the existing shards, and deletes the temporary files of killed runs.

        Raises:
          OutputError: a list cannot be written, or a file of a killed run cannot be read.
        """
        self._keep_displaced()
        # First, since `begin` deletes the notes that announce the shards that a killed run did not finish.
        self._delete_traces(announced_shards(self.path) or ())
        ShardNotes(self.path).begin(relative_path(path) for path in self.shards)

    def end(self) -> None:
        """Deletes the files that are needed only during a run."""
        self._delete_traces({relative_path(path) for path in find_shards(self.path).own})
        delete_files([run_path(self.path, DISPLACED_FILE)])
        ShardNotes(self.path).end()

    @property
    def earlier_rejects(self) -> list[str]:
        """Paths of the lists of clips that earlier runs rejected."""
        displaced = run_path(self.path, DISPLACED_FILE)
        return [*list_files(self.path, REJECTED_LIST), *([displaced] if exists(displaced) else [])]

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
        lists = list_files(self.path, WRITTEN_LIST) + list_files(self.path, TRIED_LIST)
        delete_files([*lists, run_path(self.path, ACCOUNT_FILE)])

    def keep_tried(self, rejects: RejectFiles) -> RejectFiles:
        """Copies the given lists of rejected clips, since the run may replace them with its own.

        Raises:
          SettingError: a list cannot be read.
          OutputError: a copy cannot be written.
        """
        count = len(rejects.paths)
        copies = [list_path(run_path(self.path, TRIED_LIST), number, count) for number in range(count)]
        for path, copy in zip(rejects.paths, copies, strict=True):
            write_output(copy, read_given(path, "rejects"))
        return RejectFiles(tuple(copies), rejects.sha256)


def _shown(setting: Any) -> str:
    if isinstance(setting, str) and _SHA256.fullmatch(setting):
        return f"a file whose SHA-256 begins with {setting[:8]}"
    return "none" if setting is None else str(setting)


def _may_be_shard(path: str, splits: Collection[str], sharding: Sharding) -> bool:
    split, _, file_name = relative_path(path).partition("/")
    return split in splits and sharding.may_name(split, file_name.removesuffix(SHARD_SUFFIX))


def _is_own_file(path: str, own: Collection[str]) -> bool:
    relative = relative_path(path)
    return relative in own or relative.startswith(f"{RUN_FOLDER}/")


def and_more(paths: Sequence[str]) -> str:
    """Returns " (and N more)" for the paths after the first one; empty if there are none."""
    return f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""


def read_manifest(folder: str) -> dict[str, Any] | None:
    """Returns the manifest of the last run that wrote to a folder; None if there is none.

    Raises:
      SettingError: the manifest cannot be read.
    """
    path = run_path(folder, MANIFEST_FILE)
    with _reading_manifest(folder):
        if not exists(path):
            return None
        with open_file(path) as file:
            manifest = json.load(file)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("settings"), dict):
            raise ValueError("it has no settings")
        for name, kind in _MANIFEST_TYPES.items():
            if not isinstance(manifest.get(name), kind | None):
                raise ValueError(f"{name} is {str(manifest[name])[:_SHOWN]}")
        if not all(isinstance(number, int) for number in (manifest.get("clips") or {}).values()):
            raise ValueError("a number of clips is not an integer")
        return manifest


@contextmanager
def _reading_manifest(folder: str) -> Iterator[None]:
    """Raises SettingError instead of the error of a manifest that cannot be read or has an invalid value."""
    try:
        yield
    except (*FILE_ERRORS, TypeError, ValueError, RecursionError) as error:
        path = run_path(folder, MANIFEST_FILE)
        raise SettingError(f"{path}: cannot be read ({error}); restore or remove it") from error
