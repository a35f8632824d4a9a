"""Checks a feature folder: each shard, and the shards together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipeline.output.feature_folder import FeatureFolder, and_more
from pipeline.output.run_files import run_path
from pipeline.output.shard_list import read_shard_list, root_of
from pipeline.verification.process_pool import Mapper
from transforms.audioset.layout import AUDIOSET, SHARD_SUFFIX, Sharding
from transforms.audioset.own_shards import RUN_FOLDER, SHARDS_FILE
from transforms.errors import SettingError
from transforms.features.check_shard import CheckShard, ShardReport, Totals
from transforms.features.open_shard import ShardFile
from transforms.features.record_index import RecordIndex
from transforms.printable import counted
from transforms.storage.files import exists, match_files
from transforms.storage.globs import escape


@dataclass
class Summary(Totals):
    """The contents and problems of a folder.

    Attributes:
      clips: split -> number of records.
      root: the folder's root, see `root_of`; None if a shard cannot be read.
      notes: remarks that are not problems, one line each.
      index: index of the records; None if not requested.
    """

    folder: str = ""
    shards: int = 0
    clips: Counter[str] = field(default_factory=Counter)
    root: str | None = None
    notes: list[str] = field(default_factory=list)
    index: RecordIndex | None = None

    def lines(self) -> list[str]:
        """Returns the summary as text."""
        lines = [f"clips   {sum(self.clips.values()):,}, in {counted(self.shards, 'shard')}"]
        if len(self.clips) > 1:
            lines += [f"  {split}: {n:,}" for split, n in sorted(self.clips.items())]
        lines += [
            f"frames  {self.frames:,} ({', '.join(sorted(self.kinds)) or 'none'})",
            f"hours   {self.duration_s / 3600:,.2f}",
        ]
        if self.bytes_total:
            at_0, at_255 = self.bytes_at_0 / self.bytes_total, self.bytes_at_255 / self.bytes_total
            lines.append(f"bytes   {at_0:.1%} at 0, {at_255:.1%} at 255")
        lines.append(f"root    {self.root or 'none, since a shard cannot be read'}")
        return lines

    def to_json(self) -> dict[str, Any]:
        names = (
            "folder",
            "shards",
            "frames",
            "duration_s",
            "bytes_total",
            "bytes_at_0",
            "bytes_at_255",
            "root",
        )
        values = {name: getattr(self, name) for name in names}
        return values | {"clips": dict(sorted(self.clips.items())), "kinds": sorted(self.kinds)}


def verify_folder(
    folder: str, strict: bool = False, by_list: bool = False, indexed: bool = False, run_all: Mapper = map
) -> Summary:
    """Reads every record of every shard and checks it against the release's layout; see `CheckShard`.

    It also checks that a folder does not contain both quantized and raw frames, that all numbered shards
    exist, and, if there is a manifest, the number of clips of each split. The manifest also gives the schema.

    Args:
      folder: feature folder, with shards SPLIT/PREFIX.tfrecord.
      strict: also check that records are sorted by id and start; the release does not sort them.
      by_list: check the shards' bytes against the list that the last run wrote.
      indexed: return an index of the records.
      run_all: the map function that runs the tasks, such as `Processes.map`.

    Raises:
      SettingError: the folder contains no shard, or its manifest or its list of shards cannot be read.
    """
    found = find_shards(folder)
    listed = None
    if by_list:
        path = run_path(folder, SHARDS_FILE)
        if not exists(path):
            raise SettingError(
                f"--manifest: {folder} has no {RUN_FOLDER}/{SHARDS_FILE}, which a run writes at its end; "
                "leave it out"
            )
        listed = read_shard_list([path])
    check = CheckShard(found.framing, strict, indexed, found.schema, found.pads_short)
    summary = Summary(folder=folder, shards=len(found.shards))
    rows, names, files = [], {}, []
    for path, report in zip(found.shards, run_all(check, found.shards), strict=True):
        split, name = path.split("/")[-2:]
        names[f"{split}/{name}"] = path
        summary.add(report)
        summary.clips[split] += report.records
        rows.append(report.rows)
        if report.size_bytes is not None and report.sha256 is not None:
            files.append(ShardFile(f"{split}/{name}", report.records, report.size_bytes, report.sha256))
        if listed is not None:
            summary.problems += _list_problems(path, report, listed.get(f"{split}/{name}"))
    if listed is not None:
        missing = sorted(listed.keys() - names.keys())
        summary.problems += [f"{folder}: {name} is in the list of shards but missing" for name in missing]
    if len(files) == len(found.shards):
        summary.root = root_of(sorted(files, key=lambda file: file.path))
    if indexed:
        summary.index = RecordIndex.of(folder, found.shards, rows, found.quantization)
    if len(summary.kinds) > 1:
        summary.problems.append(f"{folder}: contains both quantized and raw frames")
    summary.problems += _layout_problems(folder, names)
    if by_list:
        summary.problems += [f"{path}: is not in the list of shards" for path in found.foreign]
    elif found.foreign:
        summary.notes.append(
            f"{found.foreign[0]}{and_more(found.foreign)} was not written by a run here, so it was not "
            "checked"
        )
    if found.manifest is not None:
        clips = found.manifest.get("clips")
        if clips is None:
            summary.notes.append(f"the last run in {folder} did not finish: run its command again")
            clips = summary.clips
        for split in sorted({*clips, *summary.clips}):
            expected, found_clips = clips.get(split, 0), summary.clips[split]
            if expected != found_clips:
                counts = f"{expected:,} in the manifest, but {found_clips:,} in the shards"
                summary.problems.append(f"{folder}: clips of {split}: {counts}")
    return summary


def find_shards(folder: str) -> FeatureFolder:
    """Reads the state of a feature folder that has shards.

    Returns:
      The folder; without a list of the runs' shards, as in the release, all its shards count as own.

    Raises:
      SettingError: it has no shards, cannot be listed, or its manifest cannot be read.
    """
    found = FeatureFolder.at(folder)
    if not found.has_own_list:
        found = replace(found, shards=found.foreign, foreign=())
    if not found.shards and not found.foreign:
        if match_files(FileSystems.join(escape(folder), f"*{SHARD_SUFFIX}")):
            raise SettingError(f"{folder}: is the folder of one split; give its parent folder")
        raise SettingError(f"{folder}: contains no SPLIT/PREFIX{SHARD_SUFFIX}; give a feature folder")
    return found


def _list_problems(path: str, report: ShardReport, listed: ShardFile | None) -> Iterator[str]:
    if listed is None:
        yield f"{path}: is not in the list of shards"
        return
    differences = [
        f"{name} {getattr(report, name)} instead of {getattr(listed, name)}"
        for name in ("records", "size_bytes", "sha256")
        if getattr(report, name) != getattr(listed, name)
    ]
    if differences:
        yield f"{path}: differs from the list of shards: {', '.join(differences)}"


def _layout_problems(folder: str, names: Iterable[str]) -> Iterator[str]:
    """Yields problems of splits that are sharded in several ways, or lack numbered shards."""
    by_split: dict[str, dict[str, Sharding]] = defaultdict(dict)
    for name in names:
        split, shard = name.removesuffix(SHARD_SUFFIX).split("/")
        by_split[split][shard] = Sharding.of_shard(split, shard)
    for split, shards in sorted(by_split.items()):
        numbers = sorted({sharding.num_shards or 0 for sharding in shards.values()})
        if len(numbers) > 1:
            rules = ", ".join(f"hash:{number}" if number else AUDIOSET for number in numbers)
            yield f"{folder}: {split} is sharded in several ways ({rules}), so clips may occur twice"
        for number in filter(None, numbers):
            for shard in Sharding(number).all_names(split):
                if shard not in shards:
                    yield f"{folder}: {split}/{shard}{SHARD_SUFFIX} is missing"
