"""Encodes clips as shards in the formats that this package reads, and divides input files among shards.

The bytes depend only on the clips, their order and, for Parquet, the version of Arrow.
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

from transforms.audio_shards.formats import SHARD_FORMATS
from transforms.audio_shards.items import MAX_AUDIO_BYTES, ShardClip, shortest_float32
from transforms.audio_shards.signatures import AUDIO_EXTENSIONS
from transforms.errors import ClipError, Reason
from transforms.example_protos import Example
from transforms.storage.tfrecord import frame_record

# A record, page or buffer is limited to 2 GiB in every format; this leaves 1 MiB for the other fields.
MAX_FILE_BYTES = MAX_AUDIO_BYTES - (1 << 20)

# The writer holds one Parquet row group in memory. A reader that reads page by page holds about one page.
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

# Characters of the id in a member's name, so that the name with number and extension fits in the 100 bytes of
# a plain tar header.
_MAX_ID_CHARACTERS = 60


@dataclass(frozen=True)
class PackedClip:
    """A clip to write into a shard.

    Attributes:
      clip: what a reader returns later; its offset is not used.
      extension: of its audio file, without dot. Only tar stores it, and no reader relies on it.
    """

    clip: ShardClip
    extension: str = ""


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write.

    Attributes:
      index: number of the shard, from 0.
      count: number of all shards.
      paths: of the files to put into it, sorted.
    """

    index: int
    count: int
    paths: tuple[str, ...]

    def file_name(self, kind: str) -> str:
        """Return the file name, such as `audio-00000-of-00010.tar`; names sort in the order of the shards."""
        width = max(5, len(str(self.count)))
        return f"audio-{self.index:0{width}d}-of-{self.count:0{width}d}.{kind}"


def is_shard_name(name: str) -> bool:
    """Whether a name is one of `ShardPlan.file_name`'s."""
    return bool(re.fullmatch(rf"audio-\d{{5,}}-of-\d{{5,}}\.({'|'.join(SHARD_FORMATS)})", name, re.ASCII))


def plan_shards(files: Iterable[tuple[str, int]], shard_bytes: int) -> list[ShardPlan]:
    """Divide files into shards: sorted by path, as many in each shard as fit.

    The order matters: if two files are the same clip, the reader takes the first, which is the path that
    sorts first.

    Args:
      files: (path, size in bytes) of each, in any order; paths differ.
      shard_bytes: maximum total size of the files in a shard; a larger file gets its own shard.
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
    """Check that a shard of this kind can store a clip without loss.

    Raises:
      ClipError: its audio is too large; or a time would change by a millisecond or more in a TFRecord.
    """
    if len(clip.audio) > MAX_FILE_BYTES:
        raise ClipError(
            Reason.UNSUPPORTED,
            f"has more than {MAX_FILE_BYTES:,} bytes, the limit of a clip in a shard; "
            "give it to pipeline.run as a file",
        )
    if kind != "tfrecord":
        return
    for time_s in (clip.start_s, clip.end_s):
        # Segments are matched by the millisecond, and an Example has no float64.
        if time_s is None:
            continue
        stored_s = shortest_float32(struct.unpack("f", struct.pack("f", time_s))[0])
        if round(stored_s * 1000) != round(time_s * 1000):
            raise ClipError(
                Reason.UNSUPPORTED,
                f"{time_s} s cannot be stored to the millisecond in a TFRecord's float32; use tar or parquet",
            )


def write_tfrecord(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encode clips as an uncompressed TFRecord of `tf.train.Example`, one record per clip.

    A field that a clip lacks is omitted. Labels are indices. Times are float32; the reader restores the
    decimal (see `shortest_float32`).
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
        del example, features  # otherwise three copies are in memory while the consumer writes
        yield from frame_record(record)


def write_tar(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encode clips as an uncompressed tar in WebDataset's form: KEY.json, then KEY.EXTENSION.

    KEY is the clip's number in the shard, which makes it unique, and its id, percent-encoded and truncated.
    It has no dots, since WebDataset ends a key at the first dot. The JSON contains the full id. Members have
    no owner and no date.
    """
    for number, packed in enumerate(clips):
        safe = quote(packed.clip.video_id, safe="").replace(".", "%2E").replace("~", "%7E")
        # Without a truncated escape at the end.
        key = f"{number:08d}-" + re.sub(r"%.?\Z", "", safe[:_MAX_ID_CHARACTERS])
        values = json.dumps(_fields(packed.clip), ensure_ascii=False, sort_keys=True)
        yield _member(f"{key}.json", values.encode())
        extension = packed.extension.lower()
        # The reader recognizes audio by any of these extensions and detects the format from the content.
        yield _member(f"{key}.{extension if extension in AUDIO_EXTENSIONS else 'wav'}", packed.clip.audio)
    yield bytes(2 * tarfile.BLOCKSIZE)


def write_parquet(clips: Iterable[PackedClip]) -> Iterator[bytes]:
    """Encode clips as Parquet, one row per clip, in row groups of 16 MB (or one clip, if that is larger).

    The file is not compressed, since encoded audio hardly compresses. Pages of 1 MB allow reading it
    as a stream, and have checksums. A field that a clip lacks is null.
    """
    sink = _Sink()
    with pq.ParquetWriter(
        sink,
        _SCHEMA,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        data_page_size=_PAGE_BYTES,
        write_batch_size=1,  # otherwise Arrow checks the page size only every 1024 rows
        write_page_checksum=True,
    ) as writer:
        for rows in _row_groups(clips):
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), row_group_size=len(rows))
            yield sink.drain()
    yield sink.drain()


# Format -> function that yields the bytes of a shard. It takes clips that passed `check_clip`, one by one as
# the bytes are requested.
WRITERS: dict[str, Callable[[Iterable[PackedClip]], Iterator[bytes]]] = dict(
    zip(SHARD_FORMATS, (write_tfrecord, write_tar, write_parquet), strict=True)
)


def _row_groups(clips: Iterable[PackedClip]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    filled = 0
    for packed in clips:
        size = len(packed.clip.audio)
        if rows and filled + size > _GROUP_BYTES:
            yield rows
            rows, filled = [], 0
        rows.append({**_fields(packed.clip), "audio": packed.clip.audio})
        filled += size
    if rows:
        yield rows


def _fields(clip: ShardClip) -> dict[str, Any]:
    """Return field -> value for the fields that a clip has, except its audio."""
    values = {
        "video_id": clip.video_id,
        "start_time_seconds": clip.start_s,
        "end_time_seconds": clip.end_s,
        "labels": list(clip.labels) or None,
        "split": clip.split,
    }
    return {field: value for field, value in values.items() if value is not None}


def _member(name: str, data: bytes) -> bytes:
    header = tarfile.TarInfo(name)  # date, owner and group are 0, the mode is 0644
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


class _Sink(io.RawIOBase):
    """A write-only file that keeps the written bytes only until they are drained."""

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
