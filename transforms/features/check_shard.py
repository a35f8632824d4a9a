"""Checks one shard of features against the release's layout, reading it as a stream."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from transforms.audioset.check import CheckedRecord, check_record
from transforms.audioset.layout import SHARD_SUFFIX, Sharding, check_split
from transforms.audioset.schemas import AUDIOSET_SCHEMA, Schema
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.features.existing_records import RecordKey, hash_values, record_key
from transforms.features.record_index import ROW, hash_clip
from transforms.storage.files import open_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.tfrecord import HEADER_BYTES, read_records
from transforms.vggish.params import SAMPLE_RATE_HZ, Framing

# A file may be longer than its segment by this.
_TOLERANCE_S = 0.5
_CHECKSUM_BYTES = 4
_BLOCK_BYTES = 1 << 20


@dataclass
class Totals:
    """Sums over records.

    Attributes:
      frames, duration_s: of all records.
      bytes_total, bytes_at_0, bytes_at_255: numbers of bytes of quantized frames.
      kinds: numbers of records with "quantized" and "raw" frames.
      problems: one line each, with the shard's path.
    """

    frames: int = 0
    duration_s: float = 0.0
    bytes_total: int = 0
    bytes_at_0: int = 0
    bytes_at_255: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add_record(self, checked: CheckedRecord, duration_s: float) -> None:
        self.frames += checked.num_frames
        self.duration_s += duration_s
        self.kinds["raw" if checked.is_raw else "quantized"] += 1
        self.bytes_total += len(checked.codes)
        self.bytes_at_0 += checked.codes.count(0)
        self.bytes_at_255 += checked.codes.count(255)

    def add(self, other: "Totals") -> None:
        for each in fields(Totals):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass
class ShardReport(Totals):
    """The result of checking a shard.

    Attributes:
      records: number of records, including faulty ones.
      size_bytes, sha256: of the file, if it can be read.
      rows: an index of the records with a valid context, if requested; see `record_index.ROW`.
    """

    records: int = 0
    size_bytes: int | None = None
    sha256: str | None = None
    rows: NDArray = field(default_factory=lambda: np.empty(0, ROW))


@dataclass(frozen=True)
class CheckShard:
    """Path of a shard -> ShardReport.

    This checks the checksums, the keys and their types, 128 bytes (or floats, for raw features) per frame,
    the prefix of ids in the shard's name, the split's name, that no clip occurs twice, and that the number of
    frames fits the clip's duration.

    Attributes:
      framing: the framing that the frames were made with.
      strict: also check that records are in order of id and start time; the release's are not.
      indexed: return an index of the records.
      schema: the records' keys.
      pads_short: whether a clip may have one frame, however short it is.
    """

    framing: Framing = Framing()
    strict: bool = False
    indexed: bool = False
    schema: Schema = AUDIOSET_SCHEMA
    pads_short: bool = False

    def __call__(self, path: str) -> ShardReport:
        *_, split, name = path.split("/")
        shard = name.removesuffix(SHARD_SUFFIX)
        sharding = Sharding.of_shard(split, shard)
        report = ShardReport()
        try:
            check_split(split)
        except SettingError as error:
            report.problems.append(f"{path}: {error}")
        keys: list[RecordKey] = []
        rows, offset = [], 0
        for number, record in enumerate(self._records(path, report)):
            checked = check_record(record, self.schema, split)
            problems = list(checked.problems)
            if (segment := checked.segment) is not None:
                expected = sharding.shard_name(split, segment.video_id)
                if expected != shard:
                    problems.append(f"{segment.video_id!r} belongs in {expected}{SHARD_SUFFIX}")
                problems += self._length_problems(segment, checked.num_frames)
                keys.append(record_key(segment))
                if self.indexed:
                    rows.append((hash_clip(segment), hash_values(segment.labels), segment.end_s, 0, offset))
                report.add_record(checked, segment.duration_s)
            report.records += 1
            report.problems += [f"{path}, record {number}: {problem}" for problem in problems]
            offset += HEADER_BYTES + len(record) + _CHECKSUM_BYTES
        report.rows = np.array(rows, ROW)
        # Duplicates in different shards need no check: one of them has the wrong prefix.
        for (video_id, start_ms), n in Counter(keys).items():
            if n > 1:
                report.problems.append(f"{path}: {video_id!r} at {start_ms / 1000} s occurs {n} times")
        if self.strict and keys != sorted(keys):
            report.problems.append(f"{path}: records are not in order of id and start time")
        return report

    def _records(self, path: str, report: ShardReport) -> Iterator[bytes]:
        try:
            with open_file(path) as opened:
                file = _HashedFile(opened)
                try:
                    yield from read_records(cast(BinaryIO, file))
                except ValueError as error:
                    report.problems.append(f"{path}: {error}; the rest of the shard is not read")
                report.size_bytes, report.sha256 = file.finish()
        except FILE_ERRORS as error:
            report.problems.append(f"{path}: cannot be read ({error})")

    def _length_problems(self, segment: Segment, num_frames: int) -> Iterator[str]:
        duration_s = segment.duration_s
        max_frames = self.framing.num_examples(round((duration_s + _TOLERANCE_S) * SAMPLE_RATE_HZ))
        if self.pads_short:
            max_frames = max(max_frames, 1)
        if not 1 <= num_frames <= max_frames:
            has = f"{segment.video_id!r} has {num_frames} frames"
            yield f"{has}; {duration_s:.3f} s allow 1 to {max_frames}"


class _HashedFile:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self._size_bytes += len(data)
        return data

    def finish(self) -> tuple[int, str]:
        """Read the rest; return the size and the hash of the whole file."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._size_bytes, self._digest.hexdigest()
