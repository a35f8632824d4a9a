"""A shard of a feature folder that a run adds clips to."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from transforms.audioset.layout import shard_path
from transforms.clips import sha256_of
from transforms.errors import OutputError
from transforms.features.assemble_clips import Contest, merge_records
from transforms.features.existing_records import (
    ROW,
    Context,
    RecordKey,
    clip_rows,
    prior_sources,
    read_shard_records,
)
from transforms.features.own_shards import ShardNotes
from transforms.features.sources import (
    Source,
    Sources,
    least_sources,
    put_sources,
    read_source_rows,
    record_hash,
    sources_path,
)
from transforms.storage.files import exists, write_output
from transforms.storage.tfrecord import frame_records


@dataclass(frozen=True)
class ShardFile:
    """A shard as it was written.

    Attributes:
      path: below the feature folder, `SPLIT/NAME.tfrecord`.
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
    """A shard and what is known of it.

    Attributes:
      output: the feature folder.
      split, name: of the shard.
      notes: where the shard is announced; None: it is replaced, and nothing is said of it in `_run`.
      records: that it has now; empty if they were not asked for.
      source_rows: (hash of a record, source), those of the records before the run among them.
      sources: the same by record.
      before: `ROW`s of its clips as they were before the run.
    """

    output: str
    split: str
    name: str
    notes: ShardNotes | None
    records: list[tuple[Context, bytes]] = field(default_factory=list)
    source_rows: list[tuple[str, Source]] = field(default_factory=list)
    sources: Sources = field(default_factory=dict)
    before: NDArray = field(default_factory=lambda: np.empty(0, ROW))

    @property
    def path(self) -> str:
        return FileSystems.join(self.output, *shard_path(self.split, self.name).split("/"))

    @property
    def _sources_path(self) -> str:
        return sources_path(self.output, self.split, self.name)

    def is_there(self) -> bool:
        """Whether there is a shard that a run wrote, and that is not just replaced.

        Raises:
          OutputError: there is a file that no run wrote.
        """
        if self.notes is None or not exists(self.path):
            return False
        if not self.notes.owns(self.split, self.name):
            raise OutputError(
                f"{self.path}: stands where a shard must go, and no run wrote it; move it away and run the "
                "same command again"
            )
        return True

    def read(self) -> None:
        """Reads what is there.

        Raises:
          OutputError: it is damaged, cannot be read, or is a file that no run wrote.
        """
        if self.notes is None:
            return
        if self.is_there():
            self.records = read_shard_records(self.path)
            self.source_rows = read_source_rows(self._sources_path)
            self.sources = least_sources(self.source_rows)
        noted = self.notes.read(self.split, self.name)
        self.before = clip_rows(self.records, self.sources) if noted is None else np.frombuffer(noted, ROW)

    def prior_sources(self, keys: Iterable[RecordKey]) -> dict[RecordKey, Source]:
        """Of some clips the sources of their records before the run, where they are known."""
        return prior_sources(keys, self.before, (source for _, source in self.source_rows))

    def put(self, contest: Contest) -> ShardFile | None:
        """Writes what was decided, in an order in which each step may be the last one.

        Returns:
          The shard; None if its records stay as they are.

        Raises:
          OutputError: it cannot be written, or another run has the folder now.
        """
        old = {context.key: record for context, record in self.records}
        records = merge_records(old.items(), contest.written)
        if self.notes is not None:
            self.notes.note(self.split, self.name, self.before.tobytes())
            self._put_sources(contest, old, set(map(record_hash, records)))
        if not contest.written and (old or contest.adopted):
            return None
        data = frame_records(records)
        write_output(self.path, data)
        return ShardFile(shard_path(self.split, self.name), len(records), len(data), sha256_of(data))

    def _put_sources(self, contest: Contest, old: dict[RecordKey, bytes], new: set[str]) -> None:
        # Those of the records that are replaced too: this process may be killed before it replaces them. And
        # those from before the run, which an engine that repeats this work asks for again.
        wanted = {*new, *map(record_hash, old.values())}
        before = set(self.before["source"].tolist())
        rows = [
            (digest, source)
            for digest, source in self.source_rows
            if (digest in wanted and source == self.sources[digest]) or source.hash in before
        ]
        rows += [(record_hash(clip.record), clip.source) for clip in contest.written]
        rows += [(record_hash(old[key]), source) for key, source in contest.adopted.items() if key in old]
        if rows:
            put_sources(self._sources_path, rows)
