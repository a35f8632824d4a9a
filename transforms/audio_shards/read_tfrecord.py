"""Clips of TFRecords of `tf.train.Example`."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from transforms.audio_shards.items import (
    MAX_AUDIO_BYTES,
    MAX_LABELS,
    ShardClip,
    ShardFault,
    make_item,
    shortest_float32,
)
from transforms.audio_shards.stream import ByteStream
from transforms.errors import Reason
from transforms.frameworks import Example
from transforms.storage.tfrecord import HEADER_BYTES, is_record_header, masked_crc


def read_tfrecord(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Reads a shard as a stream, plain or gzip, with one record in memory.

    Features are lists of one value, `labels` aside: bytes for text and audio, float or int64 for times,
    int64 or bytes for labels. A list without values is a field that is not there.

    Args:
      file: open for reading in binary mode, at its start; need not be seekable.
      columns: as `parse_columns` returns.

    Yields:
      A clip a record. A damaged record, or one without id or audio, is one `bad_record`, and its length
      tells where the next begins. Where the length is damaged, or the shard ends in a record, one
      `truncated_shard` is the last. A shard that was cut between two records looks whole, unless gzip.
    """
    stream = ByteStream(file, is_plain=is_record_header)
    while True:
        offset = stream.position
        header = stream.read(HEADER_BYTES)
        if not header and not stream.damage:
            return
        if len(header) < HEADER_BYTES:
            yield _truncated(offset, stream)
            return
        length = int.from_bytes(header[:8], "little")
        # A length beyond every writer's has a right checksum only on purpose: neither read it nor skip it.
        if not is_record_header(header) or length > MAX_AUDIO_BYTES:
            message = "the record's length is damaged: where it ends, and so the rest, cannot be found"
            yield ShardFault(offset, Reason.TRUNCATED_SHARD, message)
            return
        record, checksum = stream.read(length), stream.read(4)
        if len(checksum) < 4:
            yield _truncated(offset, stream)
            return
        if checksum == masked_crc(record):
            yield _read_record(offset, record, columns)
        else:
            yield ShardFault(offset, Reason.BAD_RECORD, "the record's checksum is wrong")
        del record  # else two are in memory while the next is read


def _truncated(offset: int, stream: ByteStream) -> ShardFault:
    cause = stream.damage or "the shard is cut off"
    message = f"{cause}: it ends at byte {stream.position}, in the record that begins at {offset}"
    return ShardFault(offset, Reason.TRUNCATED_SHARD, message)


def _read_record(offset: int, record: bytes, columns: Mapping[str, str]) -> ShardClip | ShardFault:
    try:
        example = Example.FromString(record)
    except Exception as error:  # protobuf's own DecodeError is not public
        return ShardFault(offset, Reason.BAD_RECORD, f"not a tf.train.Example ({error})")
    features = example.features.feature
    values: dict[str, Any] = {}
    for field, name in columns.items():
        kind = features[name].WhichOneof("kind") if name in features else None
        in_record = getattr(features[name], kind).value if kind else []
        if len(in_record) > MAX_LABELS:
            message = f"{name} has {len(in_record)} values, more than {MAX_LABELS}"
            return ShardFault(offset, Reason.BAD_RECORD, message, make_item(offset, values).video_id)
        found = list(in_record)
        if kind == "float_list":
            found = [shortest_float32(value) for value in found]
        if field == "labels":
            values[field] = found
        elif len(found) > 1:
            message = f"{name} has {len(found)} values, not one"
            return ShardFault(offset, Reason.BAD_RECORD, message, make_item(offset, values).video_id)
        elif found:
            values[field] = found[0]
    item = make_item(offset, values)
    if isinstance(item, ShardFault) and not {columns["video_id"], columns["audio"]} <= set(features):
        there = ", ".join(sorted(map(ascii, features))[:20])
        return ShardFault(offset, item.reason, f"{item.message}; the record has {there}", item.video_id)
    return item
