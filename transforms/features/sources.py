"""From which input each record of a shard was made, in a file of `_run/sources` for each shard.

A line names a record by a hash of its bytes, so it is true, or of no record, whatever was killed when. The
file is written before its shard, with lines for the records before and after. A record without a line has
an unknown source.

    ["9f86d081884c7d65", "b/x.wav", null]                  an audio file
    ["60303ae22b998861", "clips.tar", 1536]                a clip in a shard, by its place
    ["fd61a03af4f77d87", "x.wav", null, "/data/b/x.wav"]   a path that was given relative to a folder
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
from transforms.errors import OutputError
from transforms.storage.files import exists, is_local, open_file, write_output
from transforms.storage.filesystems import FILE_ERRORS

SOURCES_FOLDER = "sources"
# Hash of no source.
UNKNOWN = 0

# Of a file that is unpacked. A line takes 30 bytes and a path; a shard with so many records takes gigabytes.
_MAX_BYTES = 1 << 28


class Source(NamedTuple):
    """An input that gives a clip. Of two for one record the lesser one counts.

    Attributes:
      place: path of the file; of a local one the absolute path.
      offset: in a shard; -1 of an audio file.
      file: the path as it was given.
    """

    place: str
    offset: int
    file: str

    @classmethod
    def of(cls, file: str, offset: int | None) -> "Source":
        return cls(os.path.abspath(file) if is_local(file) else file, -1 if offset is None else offset, file)

    @property
    def place_in_shard(self) -> int | None:
        return None if self.offset < 0 else self.offset

    @property
    def hash(self) -> int:
        """64 bits that are the same for all spellings of one path; never UNKNOWN."""
        text = f"{self.offset}:{self.place}".encode(errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1

    def is_there(self) -> bool:
        """Whether its file still exists; what cannot be reached does not."""
        try:
            return exists(self.place)
        except FILE_ERRORS:
            return False

    def __str__(self) -> str:
        return self.file if self.offset < 0 else f"{self.file} at {self.offset}"


# Hash of a record -> where it is from.
Sources = Mapping[str, Source]


def record_hash(record: bytes) -> str:
    return hashlib.blake2b(record, digest_size=8).hexdigest()


def sources_path(output: str, split: str, name: str) -> str:
    """Path of the file for a shard."""
    return FileSystems.join(output, RUN_FOLDER, SOURCES_FOLDER, f"{split}={name}.jsonl.gz")


def read_sources(path: str) -> dict[str, Source]:
    """Reads the file for a shard; empty if there is none.

    Of identical records from two inputs the lesser input counts.

    Raises:
      OutputError: it is damaged, or cannot be read.
    """
    return least_sources(read_source_rows(path))


def least_sources(rows: Iterable[tuple[str, Source]]) -> dict[str, Source]:
    """Hash of a record -> the least of its sources."""
    sources: dict[str, Source] = {}
    for digest, source in rows:
        sources[digest] = min(source, sources.get(digest, source))
    return sources


def read_source_rows(path: str) -> list[tuple[str, Source]]:
    """As `read_sources`, all of it: (hash of a record, source), several of identical records too.

    Raises:
      OutputError: as `read_sources`.
    """
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
            if not num_bytes and not compressed.tell():  # gzip takes an empty file for no data
                raise ValueError("it is empty")
        return rows
    except (*FILE_ERRORS, EOFError, ValueError, TypeError, RecursionError, zlib.error) as error:
        raise OutputError(
            f"{path}: is damaged or cannot be read ({error}); delete it and run the same command again: the "
            "sources of its shard's clips are then unknown"
        ) from error


def put_sources(path: str, rows: Iterable[tuple[str, Source]]) -> None:
    """Writes the file for a shard; the same rows give the same bytes.

    Raises:
      OutputError: it cannot be written.
    """
    lines = []
    for digest, source in sorted(set(rows)):
        values = [digest, source.file, source.place_in_shard]
        if source.place != source.file:
            values.append(source.place)
        lines.append(json.dumps(values) + "\n")
    write_output(path, gzip.compress("".join(lines).encode(), mtime=0))


def _parse(row: list) -> tuple[str, Source]:
    digest, file, offset, *place = row
    if not (isinstance(digest, str) and isinstance(file, str) and isinstance(offset, int | None)):
        raise ValueError(f"a line is {row!r}")
    return digest, Source(str(place[0]) if place else file, -1 if offset is None else offset, file)
