import io
import struct

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.storage.tfrecord import FramingError, frame_records, masked_crc, read_records, scan_records


def read(path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


@settings(max_examples=15)
@given(records=st.lists(st.binary(max_size=300), max_size=10))
def test_tensorflow_reads_framed_records(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("framed") / "a.tfrecord"
    path.write_bytes(frame_records(records))
    assert read(path) == records
    assert list(read_records(io.BytesIO(path.read_bytes()))) == records


@settings(max_examples=20)
@given(records=st.lists(st.binary(max_size=300), max_size=10))
def test_bytes_equal_those_of_tensorflow(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("written") / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    assert frame_records(records) == path.read_bytes()


def test_long_record_is_framed(tmp_path):
    record = bytes(range(256)) * 4_096
    (tmp_path / "a.tfrecord").write_bytes(frame_records([record]))
    assert read(tmp_path / "a.tfrecord") == [record]


def test_checksums_protect_length_and_record(tmp_path):
    framed = frame_records([b"a record"])
    for place in (0, 8, 12, len(framed) - 1):
        damaged = bytearray(framed)
        damaged[place] ^= 1
        (tmp_path / "a.tfrecord").write_bytes(damaged)
        with pytest.raises(tf.errors.DataLossError):
            read(tmp_path / "a.tfrecord")
        with pytest.raises(ValueError, match="at byte 0"):
            list(read_records(io.BytesIO(damaged)))


def test_the_records_before_a_cut_off_record_are_read():
    framed = frame_records([b"one", b"two"])
    for size in range(1 + len(framed) // 2, len(framed)):
        records = read_records(io.BytesIO(framed[:size]))
        assert next(records) == b"one"
        with pytest.raises(ValueError, match="ends in"):
            next(records)


@pytest.mark.parametrize("length", [2**31 + 1, 2**40, 2**63 + 5])
def test_an_excessive_length_is_refused_before_anything_is_read(length):
    header = struct.pack("<Q", length)
    with pytest.raises(FramingError, match=f"{length:,} bytes") as caught:
        list(read_records(io.BytesIO(header + masked_crc(header) + b"xx")))
    assert caught.value.is_length_damaged


def test_each_record_has_its_offset_and_a_damaged_one_is_none():
    records = [b"one", b"", b"three"]
    shard = bytearray(frame_records(records))
    offsets = [len(frame_records(records[:number])) for number in range(3)]
    assert list(scan_records(io.BytesIO(shard).read)) == list(zip(offsets, records, strict=True))
    shard[offsets[2] + 12] ^= 1
    assert list(scan_records(io.BytesIO(shard).read))[1:] == [(offsets[1], b""), (offsets[2], None)]
    shard[offsets[2]] ^= 1
    for damaged, is_length in ((shard, True), (shard[: offsets[2] + 5], False)):
        with pytest.raises(FramingError) as caught:
            list(scan_records(io.BytesIO(damaged).read))
        assert (caught.value.offset, caught.value.is_length_damaged) == (offsets[2], is_length)


def test_any_iterable_of_records_is_framed():
    assert frame_records(iter([b"a", b"b"])) == frame_records([b"a", b"b"])
    assert frame_records([]) == b""
