"""Clips to the bytes of a shard, in the forms that the readers of this folder read, and which shard is whose.

Bytes depend on nothing but the clips, their order and, of Parquet, the version of Arrow.
"""

import io
import json
import re
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, shortest_float32
from transforms.audio_shards.marks import AUDIO_EXTENSIONS
from transforms.errors import ClipError, Reason
from transforms.frameworks import Example
from transforms.storage.tfrecord import frame_record

# Room for the other fields: no form can hold 2 GiB in one record, page or buffer, nor is it read.
MAX_FILE_BYTES = MAX_AUDIO_BYTES - (1 << 20)

# Of a Parquet row group: what the writer holds. A reader that goes by pages holds about one of these.
_GROUP_BYTES = 16_000_000
_PAGE_BYTES = 1 << 20
_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("start_time_seconds", pa.float64()),
        ("end_time_seconds", pa.float64()),
        ("labels", pa.list_(pa.int64())),
        ("split", pa.string()),
        ("audio", pa.binary()),
    ]
)

# With its number and extension a member's name stays below the 100 bytes of a plain tar header.
_SHOWN_ID = 60


@dataclass(frozen=True)
class PackedClip:
    """A clip on its way into a shard.

    Attributes:
      clip: what the shard shall give back; its offset is not used.
      extension: of its audio file, without dot; only tar keeps it, and no reader relies on it.
    """

    clip: ShardClip
    extension: str = ""


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write.

    Attributes:
      index, count: which of how many.
      paths: of the files that go into it, sorted.
    """

    index: int
    count: int
    paths: tuple[str, ...]

    def file_name(self, kind: str) -> str:
        """`audio-00000-of-00010.tar`; names sort as the shards are numbered, however many there are."""
        width = max(5, len(str(self.count)))
        return f"audio-{self.index:0{width}d}-of-{self.count:0{width}d}.{kind}"


def plan_shards(files: Iterable[tuple[str, int]], shard_bytes: int) -> list[ShardPlan]:
    """Divides files into shards: sorted by path, as many into each as fit.

    The order matters: of two files for one clip the reader takes the first, which is so the path that sorts
    first.

    Args:
      files: (path, size in bytes) of each, in any order; paths differ.
      shard_bytes: most bytes of files in a shard; a file that is larger is alone in its own.
    """
    groups: list[list[str]] = []
    filled = 0
    for path, size in sorted(files):
        if not groups or filled + size > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(path)
        filled += size
    return [ShardPlan(index, len(groups), tuple(paths)) for index, paths in enumerate(groups)]


def check_clip(kind: str, clip: ShardClip) -> None:
    """Checks that a shard of a kind can hold a clip and give it back.

    Raises:
      ClipError: its audio is too large; or, in a TFRecord, a time would change by a millisecond or more.
    """
    if len(clip.audio) > MAX_FILE_BYTES:
        raise ClipError(
            Reason.UNSUPPORTED,
            f"larger than the {MAX_FILE_BYTES:,} bytes that a shard's clip can have; "
            "give it to pipeline.run as a file",
        )
    if kind != "tfrecord":
        return
    for time_s in (clip.start_s, clip.end_s):
        # Segments are joined by the millisecond, and an Example has no float64.
        if time_s is not None and round(_as_float32(time_s) * 1000) != round(time_s * 1000):
            raise ClipError(
                Reason.UNSUPPORTED,
                f"{time_s} s is no time that a TFRecord's float32 can hold; pack it as tar or parquet",
            )


def write_shard(kind: str, clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encodes a shard as a stream; see the writers.

    Args:
      kind: "tfrecord", "tar" or "parquet".
      clips: its clips, each good by `check_clip`; taken one by one, as the bytes are asked for.

    Yields:
      The shard's bytes in order.
    """
    return WRITERS[kind](clips)


def write_tfrecord(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encodes clips as an uncompressed TFRecord of `tf.train.Example`, a record a clip.

    What a clip does not have is no feature of its record. Times are float32, whose nearest short decimal is
    the time; labels are indices.
    """
    for packed in clips:
        example = Example()
        features = example.features.feature
        for field, value in _fields(packed.clip).items():
            if field == "labels":
                features[field].int64_list.value.extend(value)
            elif isinstance(value, str):
                features[field].bytes_list.value.append(value.encode())
            else:
                features[field].float_list.value.append(value)
        features["audio"].bytes_list.value.append(packed.clip.audio)
        record = example.SerializeToString(deterministic=True)
        del example, features  # else three copies are in memory while the consumer writes
        yield from frame_record(record)


def write_tar(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encodes clips as an uncompressed tar, in WebDataset's way: KEY.json, then KEY.EXTENSION.

    KEY is the clip's number in the shard and its id, percent-encoded and cut short: without dots, so that
    WebDataset finds the key that was meant, and never the same twice. The id itself stands in the JSON.
    Members belong to nobody and have no date.
    """
    for number, packed in enumerate(clips):
        key = f"{number:08d}-{_key_part(packed.clip.video_id)}"
        values = json.dumps(_fields(packed.clip), ensure_ascii=False, sort_keys=True)
        yield _member(f"{key}.json", values.encode())
        extension = packed.extension.lower()
        # Nobody relies on it, but it must be one that says audio.
        known = extension if extension in AUDIO_EXTENSIONS else "wav"
        yield _member(f"{key}.{known}", packed.clip.audio)
    yield bytes(2 * tarfile.BLOCKSIZE)


def write_parquet(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encodes clips as Parquet, a row a clip, in row groups of 16 MB (or one clip, if that is larger).

    Uncompressed, since audio is; pages of 1 MB, so that they can be read as a stream, with checksums; null is
    what a clip does not have.
    """
    sink = _Sink()
    with pq.ParquetWriter(
        sink,
        _SCHEMA,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=_PAGE_BYTES,
        write_batch_size=1,  # else a page is looked at, and ended, only every 1024 rows
        write_page_checksum=True,
    ) as writer:
        rows: list[dict[str, Any]] = []
        filled = 0
        for packed in clips:
            size = len(packed.clip.audio)
            if rows and filled + size > _GROUP_BYTES:
                _write_group(writer, rows)
                yield sink.drain()
                rows, filled = [], 0
            rows.append({**_fields(packed.clip), "audio": packed.clip.audio})
            filled += size
        if rows:
            _write_group(writer, rows)
            yield sink.drain()
    yield sink.drain()


WRITERS: dict[str, Callable[[Iterable[PackedClip]], Iterator[bytes]]] = {
    "tfrecord": write_tfrecord,
    "tar": write_tar,
    "parquet": write_parquet,
}


def _fields(clip: ShardClip) -> dict[str, Any]:
    """Field -> value of what a clip has, its audio aside."""
    values = {
        "video_id": clip.video_id,
        "start_time_seconds": clip.start_s,
        "end_time_seconds": clip.end_s,
        "labels": list(clip.labels) or None,
        "split": clip.split,
    }
    return {field: value for field, value in values.items() if value is not None}


def _as_float32(time_s: float) -> float:
    """A time as the reader of a TFRecord gets it."""
    return shortest_float32(struct.unpack("f", struct.pack("f", time_s))[0])


def _key_part(video_id: str) -> str:
    safe = quote(video_id, safe="").replace(".", "%2E").replace("~", "%7E")
    return re.sub(r"%.?\Z", "", safe[:_SHOWN_ID])


def _member(name: str, data: bytes) -> bytes:
    header = tarfile.TarInfo(name)  # date, owner and group are 0, the mode is 0644
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _write_group(writer: pq.ParquetWriter, rows: list[dict[str, Any]]) -> None:
    columns = {name: [row.get(name) for row in rows] for name in _SCHEMA.names}
    writer.write_table(pa.table(columns, schema=_SCHEMA), row_group_size=len(rows))


class _Sink(io.RawIOBase):
    """A file without an end that forgets what was drained of it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._position += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._position

    def writable(self) -> bool:
        return True

    def drain(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
