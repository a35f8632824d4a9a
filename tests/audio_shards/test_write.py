import io
import os
import random
import re
import tarfile
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from making import CLIPS, read

from transforms.audio_shards import write
from transforms.audio_shards.items import ShardClip
from transforms.audio_shards.sniff import shard_format
from transforms.audio_shards.write import PackedClip, ShardPlan, check_clip, plan_shards
from transforms.errors import ClipError, Reason

KINDS = tuple(write.WRITERS)
# Without surrogates: paths are valid UTF-8 at this point.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
MILLISECONDS = st.integers(0, 8_000_000)


@st.composite
def shard_clips(draw) -> ShardClip:
    start_ms = draw(st.none() | MILLISECONDS)
    end_ms = None if start_ms is None else draw(st.none() | st.integers(start_ms + 1, 8_100_000))
    return ShardClip(
        0,
        draw(TEXT),
        draw(st.binary(max_size=600)),
        None if start_ms is None else start_ms / 1000,
        None if end_ms is None else end_ms / 1000,
        tuple(draw(st.lists(st.integers(0, 526), unique=True, max_size=4))),
        draw(st.none() | TEXT),
    )


def encode(kind: str, clips: list[ShardClip], extension: str = "flac") -> bytes:
    return b"".join(write.WRITERS[kind]([PackedClip(clip, extension) for clip in clips]))


@pytest.mark.parametrize("kind", KINDS)
@given(clips=st.lists(shard_clips(), max_size=4))
@settings(max_examples=60)
def test_a_written_shard_is_recognized_and_read_back(kind, clips):
    shard = encode(kind, clips)
    assert [replace(item, offset=0) for item in read(kind, shard)] == clips
    assert shard_format(ShardPlan(0, 1, ()).file_name(kind), shard[:4096]) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_awkward_ids_keep_their_clips_apart(kind):
    ids = [
        "a.b.c",
        "a/b.wav",
        "../../up",
        "-x",
        ".",
        "é\n",
        "%2E",
        "same",
        "same",
        "日" * 300,
        "日" * 301,
        "~",
    ]
    clips = [ShardClip(0, name, bytes([n])) for n, name in enumerate(ids)]
    assert [replace(item, offset=0) for item in read(kind, encode(kind, clips))] == clips


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_clips_give_the_same_bytes(kind):
    shard = encode(kind, CLIPS)
    assert encode(kind, CLIPS) == shard
    assert encode(kind, CLIPS[::-1]) != shard


def test_tensorflow_reads_the_records(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(encode("tfrecord", CLIPS))
    for record, clip in zip(tf.data.TFRecordDataset(str(path)).as_numpy_iterator(), CLIPS, strict=True):
        features = tf.train.Example.FromString(record).features.feature
        assert features["video_id"].bytes_list.value == [clip.video_id.encode()]
        assert features["audio"].bytes_list.value == [clip.audio]
        assert list(features["labels"].int64_list.value) == list(clip.labels)


def test_members_are_plain_sorted_and_undated_with_keys_as_in_webdataset():
    clips = [replace(CLIPS[0], video_id=name) for name in ("a.b/c d", "ü" * 90, "same", "same")]
    with tarfile.open(fileobj=io.BytesIO(encode("tar", clips, "FLAC"))) as archive:
        members = archive.getmembers()
    keys = [f"{n:08d}-{part}" for n, part in enumerate(["a%2Eb%2Fc%20d", "%C3%BC" * 10, "same", "same"])]
    assert [m.name for m in members] == [f"{key}.{ext}" for key in keys for ext in ("json", "flac")]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert all(re.fullmatch(r"[\w%-]+\.\w+", m.name, re.ASCII) and len(m.name) < 100 for m in members)


def test_a_member_always_has_an_audio_extension():
    for extension in ("", "txt", "json", "part"):
        (item,) = read("tar", encode("tar", CLIPS[:1], extension))
        assert item.audio == CLIPS[0].audio


def test_row_groups_and_pages_are_bounded(tmp_path):
    audio = os.urandom(3_000_000)
    clips = [ShardClip(0, str(n), audio[n:]) for n in range(12)]
    clips.insert(5, ShardClip(0, "large", bytes(20_000_000)))
    chunks = [len(chunk) for chunk in write.WRITERS["parquet"]([PackedClip(clip) for clip in clips])]
    assert max(chunks) < 20_100_000
    metadata = pq.ParquetFile(io.BytesIO(encode("parquet", clips))).metadata
    rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert rows == [5, 1, 5, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_consumed_as_the_bytes_are_requested(kind):
    taken = 0

    def clips():
        nonlocal taken
        for n in range(100):
            taken += 1
            yield PackedClip(ShardClip(0, str(n), bytes(1_000_000)))

    next(iter(write.WRITERS[kind](clips())))
    assert 0 < taken < 20


@given(st.floats(0, 1e6) | MILLISECONDS.map(lambda ms: ms / 1000) | st.sampled_from([36_000.123, 30_000.5]))
@settings(max_examples=300)
def test_a_tfrecord_keeps_times_to_the_millisecond_or_refuses_the_clip(start_s):
    clip = ShardClip(0, "a", b"", start_s)
    try:
        check_clip("tfrecord", clip)
    except ClipError as error:
        assert error.reason is Reason.UNSUPPORTED and start_s > 8192
        check_clip("tar", clip)
        check_clip("parquet", clip)
        return
    (item,) = read("tfrecord", encode("tfrecord", [clip]))
    assert round(item.start_s * 1000) == round(start_s * 1000)


def test_a_file_too_large_for_any_shard_is_refused(monkeypatch):
    monkeypatch.setattr(write, "MAX_FILE_BYTES", 10)
    check_clip("tar", ShardClip(0, "a", bytes(10)))
    with pytest.raises(ClipError, match="more than 10 bytes, the limit of a clip in a shard"):
        check_clip("tar", ShardClip(0, "a", bytes(11)))


@given(st.dictionaries(TEXT, st.integers(0, 100)), st.integers(1, 150), st.randoms())
def test_a_plan_has_each_file_once_in_order_in_as_few_shards_as_fit(sizes, shard_bytes, rng):
    files = list(sizes.items())
    plans = plan_shards(files, shard_bytes)
    assert [path for plan in plans for path in plan.paths] == sorted(sizes)
    assert [(plan.index, plan.count) for plan in plans] == [(n, len(plans)) for n in range(len(plans))]
    filled = [sum(sizes[path] for path in plan.paths) for plan in plans]
    for plan, total in zip(plans, filled, strict=True):
        assert plan.paths and (total <= shard_bytes or [sizes[path] for path in plan.paths][1:] == [])
    for total, after in zip(filled, plans[1:], strict=False):
        assert total + sizes[after.paths[0]] > shard_bytes
    rng.shuffle(files)
    assert plan_shards(files, shard_bytes) == plans


def test_files_that_fill_a_shard_exactly_fit():
    plans = plan_shards([("a", 60), ("b", 40), ("c", 100), ("d", 101), ("e", 0)], 100)
    assert [plan.paths for plan in plans] == [("a", "b"), ("c",), ("d",), ("e",)]


def test_names_of_shards_sort_as_their_numbers():
    assert ShardPlan(3, 10, ()).file_name("tar") == "audio-00003-of-00010.tar"
    names = [ShardPlan(n, 200_000, ()).file_name("tar") for n in random.Random(0).sample(range(200_000), 500)]
    assert [int(name[6:12]) for name in sorted(names)] == sorted(int(name[6:12]) for name in names)
