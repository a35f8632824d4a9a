"""Reads a shard of a feature folder, and writes it with the records of a run."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from transforms.audioset.layout import shard_path
from transforms.audioset.segments import Segment
from transforms.clips import sha256_of
from transforms.errors import OutputError
from transforms.features.assemble_clips import Decisions
from transforms.features.existing_records import (
    ROW,
    RecordKey,
    clip_rows,
    read_shard_records,
    record_key,
    row_of,
)
from transforms.features.folder_shards import ShardNotes
from transforms.features.sources import (
    Source,
    Sources,
    least_sources,
    read_source_rows,
    record_hash,
    sources_path,
    write_sources,
)
from transforms.storage.files import exists, write_output
from transforms.storage.tfrecord import frame_records


@dataclass(frozen=True)
class ShardFile:
    """A shard that was written.

    Attributes:
      path: path below the feature folder, `SPLIT/NAME.tfrecord`.
      records, size_bytes, sha256: of the file.
    """

    path: str
    records: int
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class OpenShard:
    """A shard that a run writes.

    Its methods raise OutputError if a file is damaged or cannot be read or written, if no run wrote the
    shard, or if another run has the folder now.

    Attributes:
      output: the feature folder.
      split, name: of the shard.
      notes: the notes of the run; None: the shard is replaced, without a note or sources in `_run`.
      records: its current records; empty before `read`.
      source_rows: (hash of a record, source); includes the sources of records before the run.
      sources: hash of a record -> the first of its sources.
      before: `ROW`s of its records before the run.
    """

    output: str
    split: str
    name: str
    notes: ShardNotes | None
    records: list[tuple[Segment, bytes]] = field(default_factory=list)
    source_rows: list[tuple[str, Source]] = field(default_factory=list)
    sources: Sources = field(default_factory=dict)
    before: NDArray = field(default_factory=lambda: np.empty(0, ROW))

    @property
    def path(self) -> str:
        return FileSystems.join(self.output, *shard_path(self.split, self.name).split("/"))

    @property
    def _sources_path(self) -> str:
        return sources_path(self.output, self.split, self.name)

    def exists(self) -> bool:
        """Return whether the shard exists and must be kept; always False without notes."""
        if self.notes is None or not exists(self.path):
            return False
        if not self.notes.owns(self.split, self.name):
            raise OutputError(
                f"{self.path}: no run wrote this file, but a shard must have this path; move the file away "
                "and run the same command again"
            )
        return True

    def read(self) -> None:
        """Read the shard, its sources and its note."""
        if self.notes is None:
            return
        if self.exists():
            self.records = read_shard_records(self.path)
            self.source_rows = read_source_rows(self._sources_path)
            self.sources = least_sources(self.source_rows)
        noted = self.notes.read(self.split, self.name)
        self.before = clip_rows(self.records, self.sources) if noted is None else np.frombuffer(noted, ROW)

    def prior_sources(self, keys: Iterable[RecordKey]) -> dict[RecordKey, Source]:
        """Return the known sources of records before the run."""
        by_hash = {source.hash: source for _, source in self.source_rows}
        rows = ((key, row_of(self.before, key)) for key in keys)
        known = ((key, by_hash.get(int(row["source"]))) for key, row in rows if row is not None)
        return {key: source for key, source in known if source is not None}

    def write(self, decisions: Decisions) -> ShardFile | None:
        """Write the note, the sources and then the shard; a kill between two steps loses nothing.

        Returns:
          The shard; None if its records do not change.
        """
        old = {record_key(segment): record for segment, record in self.records}
        merged = old | {clip.key: clip.record for clip in decisions.written}
        records = [merged[key] for key in sorted(merged)]
        if self.notes is not None:
            self.notes.note(self.split, self.name, self.before.tobytes())
            self._write_sources(decisions, old, set(map(record_hash, records)))
        if not decisions.written and (old or decisions.new_sources):
            return None
        data = frame_records(records)
        write_output(self.path, data)
        return ShardFile(shard_path(self.split, self.name), len(records), len(data), sha256_of(data))

    def _write_sources(self, decisions: Decisions, old: dict[RecordKey, bytes], new: set[str]) -> None:
        # Replaced records keep their lines, since this process may be killed before it replaces them. So do
        # the records before the run, since a runner that repeats this work needs their sources again.
        wanted = {*new, *map(record_hash, old.values())}
        before = set(self.before["source"].tolist())
        rows = [
            (digest, source)
            for digest, source in self.source_rows
            if (digest in wanted and source == self.sources[digest]) or source.hash in before
        ]
        rows += [(record_hash(clip.record), clip.source) for clip in decisions.written]
        rows += [
            (record_hash(old[key]), source) for key, source in decisions.new_sources.items() if key in old
        ]
        if rows:
            write_sources(self._sources_path, rows)
