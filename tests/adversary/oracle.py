"""Reads the content of a feature folder in a form in which two folders can be compared."""

import hashlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.audioset.example import decode_segment
from transforms.features.existing_records import RecordKey, record_key
from transforms.features.sources import read_sources, record_hash
from transforms.storage.tfrecord import read_records

# All files in `_run` when no run is active, except the sources.
RUN_FILES = {
    "log.txt",
    "manifest.json",
    "shards.jsonl",
    "rejected-00000-of-00001.jsonl",
    "unmatched-00000-of-00001.jsonl",
}


@dataclass(frozen=True)
class Record:
    """A record of a shard.

    Attributes:
      data: its bytes.
      source: the input that `_run/sources` names for it; None if it is unknown.
    """

    data: bytes
    source: tuple[str, int] | None


@dataclass(frozen=True)
class Content:
    """The content of a folder after a completed run.

    Attributes:
      shards: path below the folder -> bytes.
      records: split -> key -> record.
      lines: file -> split -> lines of the list of rejects about it.
      account, clips: of the manifest.
      listed: the bytes of the list of shards.
    """

    shards: dict[str, bytes]
    records: dict[str, dict[RecordKey, Record]]
    lines: dict[str, dict[str, list[dict[str, Any]]]]
    account: dict[str, Any]
    clips: dict[str, int]
    listed: bytes

    @classmethod
    def of(cls, folder: Path, shards: dict[str, bytes]) -> "Content":
        """Reads a folder.

        Args:
          shards: the shards that runs wrote.
        """
        manifest = json.loads((folder / "_run" / "manifest.json").read_text())
        lines: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for line in reject_lines(folder):
            lines[line["file"]][line["split"]].append(line)
        return cls(
            shards,
            all_records(folder, shards),
            lines,
            manifest["account"],
            manifest["clips"],
            (folder / "_run" / "shards.jsonl").read_bytes(),
        )

    def of_split(self, split: str) -> dict[str, bytes]:
        """Returns the shards of a split."""
        return {path: data for path, data in self.shards.items() if path.startswith(f"{split}/")}

    def total(self, outcome: str) -> int:
        return sum(self.account[outcome].values())


def reject_lines(folder: Path) -> list[dict[str, Any]]:
    """Returns the list of rejects, without hashes that depend on whether a shard was read again."""
    found = []
    for path in sorted((folder / "_run").glob("rejected-*.jsonl")):
        for text in path.read_bytes().split(b"\n"):
            if text:
                line = json.loads(text)
                if line["reason"] == "duplicate" and line["offset"] is not None:
                    line["sha256"] = None
                found.append(line)
    return found


def all_records(folder: Path, shards: dict[str, bytes]) -> dict[str, dict[RecordKey, Record]]:
    """Returns the records of some shards, after checking that they are complete, in order and unique."""
    found: dict[str, dict[RecordKey, Record]] = defaultdict(dict)
    for path, data in shards.items():
        split, name = path.removesuffix(".tfrecord").split("/")
        sources = read_sources(str(folder / "_run" / "sources" / f"{split}={name}.jsonl.gz"))
        keys = []
        for record in read_records(io.BytesIO(data)):
            source = sources.get(record_hash(record))
            keys.append(record_key(decode_segment(record, split)))
            found[split][keys[-1]] = Record(record, source and (source.path, source.offset))
        assert keys == sorted(set(keys)), f"{path}: {keys}"
    return found


def shard_line(path: str, data: bytes) -> dict[str, Any]:
    """Returns the line of a shard that the list of shards must contain."""
    records = sum(1 for _ in read_records(io.BytesIO(data)))
    digest = hashlib.sha256(data).hexdigest()
    return {"path": path, "records": records, "size_bytes": len(data), "sha256": digest}
