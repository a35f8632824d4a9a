import gzip
import io
import struct
import tracemalloc

import google_crc32c
import numpy as np
import pytest
from making import (
    CLIPS,
    COLUMNS,
    Pipe,
    clips,
    example,
    fault,
    faults,
    fields,
    read,
    reasons,
    tfrecord,
)

from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read_tfrecord import read_tfrecord
from transforms.errors import Reason

RECORDS = [example({**fields(clip), "audio": clip.audio}) for clip in CLIPS]
STARTS = np.cumsum([0, *(len(record) + 16 for record in RECORDS)]).tolist()


def header(length: int) -> bytes:
    data = struct.pack("<Q", length)
    crc = google_crc32c.value(data)
    return data + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_all_fields_are_read(compression):
    items = read("tfrecord", tfrecord(RECORDS, compression))
    assert [item.offset for item in items] == STARTS[:-1]
    assert [clip.audio for clip in items] == [clip.audio for clip in CLIPS]
    assert [fields(item) for item in items] == [fields(clip) for clip in CLIPS]  # times are float32 there


def test_a_file_without_records_has_no_clips():
    assert read("tfrecord", b"") == read("tfrecord", tfrecord([], "GZIP")) == []


def test_a_file_with_short_reads_is_read_completely():
    shard = tfrecord(RECORDS, "GZIP")
    assert list(read_tfrecord(Pipe([shard], 7), COLUMNS)) == read("tfrecord", shard)


def test_other_names_and_other_types():
    record = example({"id": 12, "audio/encoded": b"x", "t": 3, "labels": ["/m/09x0r", "Dog"], "split": None})
    columns = parse_columns("video_id=id,audio=audio/encoded,start_time_seconds=t")
    assert read("tfrecord", tfrecord([record]), columns) == [
        ShardClip(0, "12", b"x", 3.0, labels=("/m/09x0r", "Dog"))
    ]


@pytest.mark.parametrize(
    ("record", "message", "video_id"),
    [
        (b"\xff not an Example", "not a tf.train.Example", None),
        (b"", "has no video_id; the record has ", None),
        (example({"audio": b"x", "id": "a"}), "has no video_id; the record has 'audio', 'id'", None),
        (example({"video_id": "a", "wav": b"x"}), "has no audio; the record has 'video_id', 'wav'", "a"),
        (example({"video_id": "a", "audio": None}), "has no audio", "a"),
        (example({"video_id": "a", "audio": [b"x", b"y"]}), "audio has 2 values, not one", "a"),
        (example({"video_id": "a", "audio": [0.5, 0.25]}), "audio has 2 values", "a"),
        (example({"video_id": "a", "audio": 3}), "audio is int 3", "a"),
        (example({"video_id": "a", "audio": b"x", "labels": [0.5]}), "labels has float", "a"),
        (example({"video_id": "a", "audio": b"x", "start_time_seconds": "1"}), "start_time_seconds is", "a"),
    ],
)
def test_a_record_that_is_not_a_clip_is_a_fault_and_the_next_one_is_read(record, message, video_id):
    before, bad, after = read("tfrecord", tfrecord([RECORDS[0], record, RECORDS[1]]))
    assert (before.audio, after.audio) == (CLIPS[0].audio, CLIPS[1].audio)
    assert (bad.reason, bad.offset, bad.video_id) == (Reason.BAD_RECORD, STARTS[1], video_id)
    assert message in bad.message


def test_every_record_of_a_released_feature_file_is_a_fault():
    """A SequenceExample's context is read as an Example's features, which have no audio."""
    assert "has no audio" in fault("tfrecord", tfrecord([example({"video_id": "a", "labels": [1]})])).message


def test_a_damaged_record_is_a_fault_and_the_next_one_is_read():
    shard = bytearray(tfrecord(RECORDS))
    shard[STARTS[2] + 12 + 50] ^= 1
    items = read("tfrecord", bytes(shard))
    assert clips(items) == [clip for clip in read("tfrecord", tfrecord(RECORDS)) if clip.offset != STARTS[2]]
    (bad,) = faults(items)
    assert (bad.offset, bad.reason) == (STARTS[2], Reason.BAD_RECORD) and "checksum" in bad.message


@pytest.mark.parametrize("place", [0, 7, 8, 11])
def test_after_a_damaged_length_the_rest_cannot_be_found(place):
    shard = bytearray(tfrecord(RECORDS))
    shard[STARTS[2] + place] ^= 1
    items = read("tfrecord", bytes(shard))
    assert reasons(items) == [None, None, Reason.TRUNCATED_SHARD]
    assert items[-1].offset == STARTS[2] and "cannot be found" in items[-1].message


@pytest.mark.parametrize("more", [1, 11, 12, 500, len(RECORDS[2]) + 12, len(RECORDS[2]) + 15])
def test_a_shard_that_ends_in_a_record_gives_the_clips_before_it(more):
    items = read("tfrecord", tfrecord(RECORDS)[: STARTS[2] + more])
    assert reasons(items) == [None, None, Reason.TRUNCATED_SHARD]
    assert items[-1].offset == STARTS[2] and "cut off" in items[-1].message


def test_a_gzip_shard_that_is_cut_off_ends_with_one_fault():
    shard = tfrecord(RECORDS, "GZIP")
    whole = read("tfrecord", shard)
    for cut in range(12, len(shard), 97):
        items = read("tfrecord", shard[:cut])
        assert [item.reason for item in faults(items)] == [Reason.TRUNCATED_SHARD]
        assert clips(items) == items[:-1] == whole[: len(items) - 1]


def test_a_gzip_shard_that_lacks_its_checksum_has_all_clips_and_a_fault():
    items = read("tfrecord", tfrecord(RECORDS, "GZIP")[:-8])
    assert reasons(items) == [*[None] * len(CLIPS), Reason.TRUNCATED_SHARD]
    assert "gzip data are cut off" in items[-1].message


@pytest.mark.parametrize("length", [(1 << 31) + 1, 1 << 62, (1 << 64) - 1])
def test_an_implausible_length_is_damage(length):
    (bad,) = read("tfrecord", header(length) + bytes(1000))
    assert bad.reason == Reason.TRUNCATED_SHARD


def test_a_length_past_the_end_takes_no_memory():
    tracemalloc.start()
    (bad,) = read("tfrecord", header(1 << 31) + bytes(1000))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert bad.reason == Reason.TRUNCATED_SHARD


def test_a_record_whose_length_looks_like_gzip_is_read_uncompressed():
    audio = bytes(0x088B1F - len(example({"video_id": "a", "audio": bytes(1 << 19)})) + (1 << 19))
    shard = tfrecord([example({"video_id": "a", "audio": audio})])
    assert shard.startswith(b"\x1f\x8b\x08")
    assert read("tfrecord", shard) == [ShardClip(0, "a", audio)]


@pytest.mark.parametrize("compress", [lambda data: data, lambda data: gzip.compress(data, 1)])
def test_memory_does_not_grow_with_the_shard(compress):
    part = compress(tfrecord([example({"video_id": "a", "audio": bytes(1_000_000)})]))
    tracemalloc.start()
    count = sum(isinstance(item, ShardClip) for item in read_tfrecord(Pipe([part] * 200), COLUMNS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 and peak < 8_000_000


def test_an_error_of_the_file_itself_is_not_a_fault():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        list(read_tfrecord(Broken(), COLUMNS))


def test_too_many_labels_are_a_fault():
    """A few bytes of gzip hold any number of zeros."""
    record = example({"video_id": "a", "audio": b"1", "labels": [0] * 100_001})
    items = read("tfrecord", tfrecord([record, example({"video_id": "b", "audio": b"2"})], "GZIP"))
    rule = "labels has 100001 values, more than 100000"
    assert reasons(items) == [Reason.BAD_RECORD, None] and items[0].message == rule
