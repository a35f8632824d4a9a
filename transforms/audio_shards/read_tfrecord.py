"""Reads clips from TFRecords of `tf.train.Example`."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError

from transforms.audio_shards.items import MAX_LABELS, ShardClip, ShardFault, make_item, shortest_float32
from transforms.audio_shards.stream import ByteStream
from transforms.errors import Reason
from transforms.example_protos import Example
from transforms.storage.tfrecord import FramingError, is_record_header, scan_records


def read_tfrecord(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Read a shard as a stream, plain or gzip, with one record in memory.

    Each feature is a list of one value, except for `labels`, which may have many. Text and audio are bytes,
    times are float or int64, labels are int64 or bytes. An empty list means that the field is missing.

    Args:
      file: open for reading in binary mode, at its start; need not be seekable.
      columns: as `parse_columns` returns.

    Yields:
      One clip per record. A damaged record, or one without id or audio, is one `bad_record`; reading
      continues at the next record, which its length locates. If a length is damaged or the shard ends inside
      a record, the last item is a `truncated_shard`. A plain shard that was cut between two records cannot be
      told from a complete one.
    """
    stream = ByteStream(file, is_plain=is_record_header)
    try:
        for offset, record in scan_records(stream.read):
            if record is None:
                yield ShardFault(offset, Reason.BAD_RECORD, "the record's checksum is wrong")
            else:
                yield _read_record(offset, record, columns)
            del record  # otherwise two records are in memory while the next one is read
        if not stream.damage:
            return
        offset, is_length_damaged = stream.position, False
    except FramingError as error:
        offset, is_length_damaged = error.offset, error.is_length_damaged
    if is_length_damaged:
        message = "the record's length is damaged: its end, and all records after it, cannot be found"
    else:
        cause = stream.damage or "the shard is cut off"
        message = f"{cause}: it ends at byte {stream.position}, in the record that begins at byte {offset}"
    yield ShardFault(offset, Reason.TRUNCATED_SHARD, message)


def _read_record(offset: int, record: bytes, columns: Mapping[str, str]) -> ShardClip | ShardFault:
    try:
        example = Example.FromString(record)
    except DecodeError as error:
        return ShardFault(offset, Reason.BAD_RECORD, f"not a tf.train.Example ({error})")
    features = example.features.feature
    values: dict[str, Any] = {}
    for field, name in columns.items():
        kind = features[name].WhichOneof("kind") if name in features else None
        in_record = getattr(features[name], kind).value if kind else []
        if len(in_record) > (MAX_LABELS if field == "labels" else 1):
            rule = f"more than {MAX_LABELS}" if len(in_record) > MAX_LABELS else "not one"
            message = f"{name} has {len(in_record)} values, {rule}"
            return ShardFault(offset, Reason.BAD_RECORD, message, make_item(offset, values).video_id)
        found = list(in_record)
        if kind == "float_list":
            found = [shortest_float32(value) for value in found]
        if field == "labels":
            values[field] = found
        elif found:
            values[field] = found[0]
    item = make_item(offset, values)
    if isinstance(item, ShardFault) and not {columns["video_id"], columns["audio"]} <= set(features):
        present = ", ".join(sorted(map(ascii, features))[:20])
        return ShardFault(offset, item.reason, f"{item.message}; the record has {present}", item.video_id)
    return item
