"""Shards for the tests of this folder, written with each format's own library."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from transforms.audio_shards.items import ShardClip, ShardFault, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.audio_shards.read_tar import read_tar
from transforms.audio_shards.stream import ByteStream
from transforms.errors import Reason

BAD, CUT = Reason.BAD_RECORD, Reason.TRUNCATED_SHARD
COLUMNS = parse_columns()
# Compressions of a tar; Zstandard by Arrow, in one frame.
PACKED = {
    "tar": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
CLIPS = [
    ShardClip(0, f"id{n}", random.Random(n).randbytes(900 + 100 * n), n + 30.1, n + 40.1, (n, 7), "eval")
    for n in range(6)
]


class Pipe(io.RawIOBase):
    """A file that can be read once, from front to back, and at most `most` bytes at a time."""

    def __init__(self, chunks: Iterable[bytes], most: int = 1 << 30):
        self._chunks, self._left, self._most = iter(chunks), b"", most

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "a stream is not read whole"
        self._left = self._left or next(self._chunks, b"")
        size = min(size, self._most)
        data, self._left = self._left[:size], self._left[size:]
        return data

    def seekable(self) -> bool:
        return False


def read(kind: str, shard: bytes, columns: Mapping[str, str] = COLUMNS) -> list[ShardClip | ShardFault]:
    file = io.BytesIO(shard) if kind == "parquet" else Pipe([shard])
    return list(read_shard(kind, file, columns))


def fault(kind: str, shard: bytes, columns: Mapping[str, str] = COLUMNS) -> ShardFault:
    """Return the only item of a shard, which is a fault."""
    (item,) = read(kind, shard, columns)
    assert isinstance(item, ShardFault) and item.message and "\n" not in item.message
    return item


def clips(items: Iterable[ShardClip | ShardFault]) -> list[ShardClip]:
    return [item for item in items if isinstance(item, ShardClip)]


def faults(items: Iterable[ShardClip | ShardFault]) -> list[ShardFault]:
    return [item for item in items if isinstance(item, ShardFault)]


def reasons(items: Iterable[ShardClip | ShardFault]) -> list[Reason | None]:
    """Return None for each clip and the reason for each fault, in order."""
    return [item.reason if isinstance(item, ShardFault) else None for item in items]


def fields(clip: ShardClip) -> dict[str, Any]:
    """Return the fields of a clip as a shard stores them, without its audio."""
    return {
        "video_id": clip.video_id,
        "start_time_seconds": clip.start_s,
        "end_time_seconds": clip.end_s,
        "labels": list(clip.labels),
        "split": clip.split,
    }


def example(values: Mapping[str, Any]) -> bytes:
    """Return a serialized Example; a list becomes a feature with several values, None an empty one."""
    message = tf.train.Example()
    for name, value in values.items():
        feature = message.features.feature[name]
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            if isinstance(one, float):
                feature.float_list.value.append(one)
            elif isinstance(one, int):
                feature.int64_list.value.append(one)
            else:
                feature.bytes_list.value.append(one if isinstance(one, bytes) else one.encode())
    return message.SerializeToString(deterministic=True)


def tfrecord(records: Iterable[bytes], compression: str = "") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        with tf.io.TFRecordWriter(str(path), compression) as writer:
            for record in records:
                writer.write(record)
        return path.read_bytes()


def tar(members: Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return file.getvalue()


def parquet(columns: Mapping[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file, **options)
    return file.getvalue()


def sample(clip: ShardClip, extension: str = "wav") -> list[tuple[str, bytes]]:
    """Return the members of a clip, in the order of `tar --sort=name` and of WebDataset's writer."""
    return [
        (f"{clip.video_id}.json", json.dumps(fields(clip)).encode()),
        (f"{clip.video_id}.{extension}", clip.audio),
    ]


def shards() -> dict[str, tuple[str, bytes]]:
    """Return CLIPS in every format: name -> (kind, bytes)."""
    records = [example({**fields(clip), "audio": clip.audio}) for clip in CLIPS]
    members = [member for clip in CLIPS for member in sample(clip)]
    rows = [{**fields(clip), "audio": clip.audio} for clip in CLIPS]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    hugging = {**columns, "audio": [{"bytes": clip.audio, "path": "a.wav"} for clip in CLIPS]}
    return {
        "tfrecord": ("tfrecord", tfrecord(records)),
        "tfrecord.gz": ("tfrecord", tfrecord(records, "GZIP")),
        "pax.tar": ("tar", tar(members, format=tarfile.PAX_FORMAT)),
        "gnu.tar": ("tar", tar(members, format=tarfile.GNU_FORMAT)),
        "ustar.tar": ("tar", tar(members, format=tarfile.USTAR_FORMAT)),
        **{f"tar.{name}": ("tar", pack(tar(members))) for name, pack in PACKED.items() if name != "tar"},
        "parquet": ("parquet", parquet(columns, row_group_size=2)),
        "hugging.parquet": ("parquet", parquet(hugging, row_group_size=2, compression="zstd")),
        "checked.parquet": ("parquet", parquet(columns, row_group_size=2, write_page_checksum=True)),
    }


MEMBERS = [member for clip in CLIPS for member in sample(clip)]
PLAIN = [(f"id{n}.wav", clip.audio) for n, clip in enumerate(CLIPS)]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def offsets(shard: bytes) -> dict[str, int]:
    """Return member -> offset of its first header."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        return {member.name: member.offset for member in archive}


def ids(items) -> list[str]:
    return [item.video_id for item in clips(items)]


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def linked(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of files (name, data) and links, in this order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tuple):
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                archive.addfile(header, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return file.getvalue()


def read_again(shard: bytes) -> list:
    """Read a shard from a file that can be read more than once."""
    return list(read_tar(io.BytesIO(shard), COLUMNS))


SYM = tarfile.SYMTYPE


def read_all(packed: bytes, most: int = 1 << 30) -> tuple[bytes, str]:
    stream = ByteStream(Pipe([packed], most))
    parts = []
    while part := stream.read(1000):
        parts.append(part)
    assert stream.read(10) == b"" and stream.position == sum(map(len, parts))
    return b"".join(parts), stream.damage
