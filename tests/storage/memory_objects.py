"""An object store in memory, and the paths that a glob matches."""

import io
from pathlib import Path
from typing import ClassVar

import pytest
from apache_beam.io.filesystem import FileMetadata, FileSystem

from transforms.storage.listing import list_files


class MemoryObjects(FileSystem):
    """An object store: names with slashes in them, and no folders."""

    names: ClassVar[dict[str, bytes]] = {}
    listed: ClassVar[list[str]] = []

    def __init__(self, pipeline_options=None):
        super().__init__(pipeline_options)

    @classmethod
    def scheme(cls):
        return "mem"

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        self.listed.append(dir_or_prefix)
        for name in sorted(self.names):
            if name.startswith(dir_or_prefix):
                yield FileMetadata(name, len(self.names[name]))

    def exists(self, path):
        return path in self.names

    def metadata(self, path):
        return FileMetadata(path, len(self.names[path]))

    def open(self, path, *_, **__):
        return io.BytesIO(self.names[path])

    def _unused(self, *_, **__):
        raise NotImplementedError

    join = split = mkdirs = create = copy = rename = size = last_updated = checksum = delete = _unused


@pytest.fixture
def objects(monkeypatch) -> type[MemoryObjects]:
    monkeypatch.setattr(MemoryObjects, "names", {})
    monkeypatch.setattr(MemoryObjects, "listed", [])
    return MemoryObjects


def paths(pattern: str | Path, **options) -> list[str]:
    listing = list_files(str(pattern), **options)
    assert listing.faults == []
    return sorted(path for path, _ in listing.files)
