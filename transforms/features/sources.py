"""Stores the input of each record: one file in `_run/sources` per shard of features.

A line identifies a record by a hash of its bytes. The file is written before its shard, with lines for the
records before and after. So a line is correct, or belongs to no record, even if the run was killed between
the two. A record without a line has an unknown source.

    ["9f86d081884c7d65", "b/x.wav", null]                  an audio file
    ["60303ae22b998861", "clips.tar", 1536]                a clip in a shard of audio, by its offset
    ["fd61a03af4f77d87", "x.wav", null, "/data/b/x.wav"]   a file with a relative path, and its absolute path
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from transforms.audioset.own_shards import RUN_FOLDER
from transforms.clips import AnyClip
from transforms.errors import OutputError
from transforms.storage.files import exists, is_local, open_file, write_output
from transforms.storage.filesystems import FILE_ERRORS

SOURCES_FOLDER = "sources"
# The hash that stands for an unknown source.
UNKNOWN = 0

# Limit for a decompressed file. A line takes 30 bytes and a path; a shard with so many records takes
# gigabytes.
_MAX_BYTES = 1 << 28


class Source(NamedTuple):
    """The input of a clip. If several inputs have the same clip, the least source becomes the record.

    Attributes:
      path: path of the file; absolute if the file is local.
      offset: offset in a shard; -1 for an audio file.
      file: the path as given.
    """

    path: str
    offset: int
    file: str

    @classmethod
    def of(cls, clip: AnyClip) -> "Source":
        path = os.path.abspath(clip.file) if is_local(clip.file) else clip.file
        return cls(path, -1 if clip.offset is None else clip.offset, clip.file)

    @property
    def shard_offset(self) -> int | None:
        return None if self.offset < 0 else self.offset

    @property
    def hash(self) -> int:
        """A 64-bit hash, equal for all spellings of a path; never UNKNOWN."""
        text = f"{self.offset}:{self.path}".encode(errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1

    def exists(self) -> bool:
        """Return whether the file still exists; False if it cannot be reached."""
        try:
            return exists(self.path)
        except FILE_ERRORS:
            return False

    def __str__(self) -> str:
        return self.file if self.offset < 0 else f"{self.file} at {self.offset}"


# Hash of a record -> its source.
Sources = Mapping[str, Source]


def record_hash(record: bytes) -> str:
    return hashlib.blake2b(record, digest_size=8).hexdigest()


def sources_path(output: str, split: str, name: str) -> str:
    """Return the path of the file with a shard's sources."""
    return FileSystems.join(output, RUN_FOLDER, SOURCES_FOLDER, f"{split}={name}.jsonl.gz")


def read_sources(path: str) -> dict[str, Source]:
    """Read a shard's sources, by hash of the record; an empty dict if the file does not exist.

    If identical records have several sources, the least one is returned. Raise OutputError if the file is
    damaged or cannot be read.
    """
    return least_sources(read_source_rows(path))


def least_sources(rows: Iterable[tuple[str, Source]]) -> dict[str, Source]:
    """Return hash of a record -> the least of its sources."""
    sources: dict[str, Source] = {}
    for digest, source in rows:
        sources[digest] = min(source, sources.get(digest, source))
    return sources


def read_source_rows(path: str) -> list[tuple[str, Source]]:
    """Read all lines of a shard's sources, (hash of a record, source); errors as for `read_sources`."""
    try:
        if not exists(path):
            return []
        rows, num_bytes = [], 0
        with open_file(path) as compressed, gzip.GzipFile(fileobj=compressed) as file:
            while line := file.readline(_MAX_BYTES + 1 - num_bytes):
                num_bytes += len(line)
                if num_bytes > _MAX_BYTES:
                    raise ValueError(f"it decompresses to more than {_MAX_BYTES >> 20} MiB")
                if line := line.rstrip(b"\n"):
                    rows.append(_parse(json.loads(line)))
            if not num_bytes and not compressed.tell():  # gzip accepts an empty file
                raise ValueError("it is empty")
        return rows
    except (*FILE_ERRORS, EOFError, ValueError, TypeError, RecursionError, zlib.error) as error:
        raise OutputError(
            f"{path}: is damaged or cannot be read ({error}); delete it and run the same command again: the "
            "sources of its shard's clips are then unknown"
        ) from error


def write_sources(path: str, rows: Iterable[tuple[str, Source]]) -> None:
    """Write a shard's sources; the same rows give the same bytes. Errors as for `files.write_output`."""
    lines = []
    for digest, source in sorted(set(rows)):
        values = [digest, source.file, source.shard_offset]
        if source.path != source.file:
            values.append(source.path)
        lines.append(json.dumps(values) + "\n")
    write_output(path, gzip.compress("".join(lines).encode(), mtime=0))


def _parse(row: list) -> tuple[str, Source]:
    digest, file, offset, *path = row
    if not (isinstance(digest, str) and isinstance(file, str) and isinstance(offset, int | None)):
        raise ValueError(f"a line is {row!r}")
    return digest, Source(str(path[0]) if path else file, -1 if offset is None else offset, file)
