import json

import making
import pyarrow as pa
import pytest

from transforms.audio_shards.items import ShardClip
from transforms.audioset.names import compile_id_pattern
from transforms.audioset.segments import Segment, SegmentTable
from transforms.clips import Clip
from transforms.errors import ClipError, Reason
from transforms.inputs.input_clips import file_clips, shard_clips

ONE = Segment("eval", "-abc_efghij", 30.0, 40.0, (3,))
TWO = Segment("eval", "-abc_efghij", 90.0, 100.0, (3,))
OTHER = Segment("bal_train", "zzzzzzzzzzz", 0.0, 10.0, (0, 5))
TABLE = SegmentTable([ONE, TWO, OTHER])


def segment_of(clip: Clip) -> Segment:
    assert clip.end_s is not None
    return Segment(clip.split, clip.video_id, clip.start_s, clip.end_s, clip.labels)


def test_a_file_is_one_clip_without_segments():
    assert file_clips("/a/b.c.wav", "train", None, None) == [Clip("train", "b.c", "/a/b.c.wav")]


def test_a_soundtrack_gives_a_clip_for_each_of_its_segments():
    clips = file_clips("/a/-abc_efghij.wav", "train", TABLE, None)
    assert [(segment_of(clip), clip.is_cut) for clip in clips] == [(ONE, False), (TWO, False)]
    assert {clip.key for clip in clips} == {ONE.key, TWO.key}


def test_a_name_with_a_time_gives_the_one_segment_already_cut():
    (clip,) = file_clips("/a/-abc_efghij_90.000.wav", "train", TABLE, None)
    assert (segment_of(clip), clip.is_cut) == (TWO, True)


def test_a_file_without_a_segment_gives_no_clip():
    assert file_clips("/a/unknown.wav", "train", TABLE, None) == []


def test_an_id_pattern_reads_other_names_and_skips_names_that_do_not_match():
    pattern = compile_id_pattern(r"/clip-(?P<id>\w+)-16k\.")
    assert file_clips("/a/clip-x1-16k.wav", "train", None, pattern) == [
        Clip("train", "x1", "/a/clip-x1-16k.wav")
    ]
    assert file_clips("/a/readme.txt", "train", None, pattern) == []


def test_a_clip_of_a_shard_keeps_the_fields_of_the_shard():
    item = ShardClip(7, "x", b"audio", 30.0, 40.0, (5, "Speech", "/m/a"), "eval")
    indices = {"Speech": 2, "/m/a": 5}
    assert shard_clips("s.tar", item, "train", None, indices) == [
        Clip("eval", "x", "s.tar", 7, 30.0, 40.0, (2, 5), True, b"audio")
    ]
    bare = ShardClip(7, "x", b"audio")
    assert shard_clips("s.tar", bare, "train", None, None) == [Clip("train", "x", "s.tar", 7, audio=b"audio")]


@pytest.mark.parametrize(
    "item, message",
    [
        (ShardClip(0, "x", b"", labels=("Speech",)), "give --class_labels"),
        (ShardClip(0, "x", b"", labels=(-1,)), "label -1 is not a class index"),
        (ShardClip(0, "x", b"", labels=(2**31,)), "label 2147483648 is not a class index"),
        (
            ShardClip(0, "x", b"", labels=(0, 1, 1)),
            "3 values of 0 or 1.*multi-hot vector of 527.*--class_labels",
        ),
        (ShardClip(0, "x", b"", labels=(0,) * 526), "526 values of 0 or 1"),
        (ShardClip(0, "x", b"", labels=(1, 1)), "2 values of 0 or 1"),
        (ShardClip(0, "x", b"", split="../up"), "a split names a folder"),
        (ShardClip(0, "x", b"", split="s" * 300), "300 characters.*give at most 128"),
        (ShardClip(0, "x", b"", start_s=5.0, end_s=4.0), "are not a valid segment"),
    ],
)
def test_a_clip_of_a_shard_with_a_bad_field_is_a_bad_record(item, message):
    with pytest.raises(ClipError, match=message) as caught:
        shard_clips("s.tar", item, "train", None, None)
    assert caught.value.reason is Reason.BAD_RECORD


def one_hot(length: int, *indices: int) -> tuple[int, ...]:
    return tuple(int(n in indices) for n in range(length))


@pytest.mark.parametrize(
    ("labels", "indices", "found"),
    [
        (one_hot(527, 0, 526), None, (0, 526)),
        (one_hot(527), None, ()),
        (one_hot(3, 2), {"/m/a": 0, "A": 0, "/m/b": 1, "/m/c": 2}, (2,)),
        # Too short for a vector of all classes, or each index comes once: indices.
        ((0, 1), None, (0, 1)),
        ((1, 0), {"/m/a": 0, "/m/b": 1}, (0, 1)),
        ((1,), {"/m/a": 0}, (1,)),
        # Twice the same index is that index; one beyond the list of classes may be of another ontology.
        ((7, 5, 7), None, (5, 7)),
        ((600,), {"/m/a": 0}, (600,)),
    ],
)
def test_labels_of_a_shard_are_indices_or_a_multi_hot_vector(labels, indices, found):
    (clip,) = shard_clips("s.tar", ShardClip(0, "x", b"", labels=labels), "train", None, indices)
    assert clip.labels == found


@pytest.mark.parametrize("kind", ["tfrecord", "parquet", "tar"])
def test_a_multi_hot_column_gives_its_classes(kind, tmp_path):
    labels = list(one_hot(527, 3, 137))
    values = {"video_id": "x", "labels": labels}
    shard = {
        "tfrecord": lambda: making.tfrecord([making.example({**values, "audio": b"1"})]),
        "tar": lambda: making.tar([("x.json", json.dumps(values).encode()), ("x.wav", b"1")]),
        "parquet": lambda: making.parquet(
            {"video_id": ["x"], "audio": [b"1"], "labels": pa.array([labels], pa.list_(pa.int32(), 527))}
        ),
    }[kind]()
    (item,) = making.read(kind, shard)
    assert shard_clips("s", item, "train", None, None)[0].labels == (3, 137)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-abc_efghij.wav", [(ONE, False), (TWO, False)]),
        ("Y-abc_efghij.wav", [(ONE, False), (TWO, False)]),
        ("./audio/Y-abc_efghij_90.000.wav", [(TWO, True)]),
        ("-abc_efghij_30.000_40.000.flac", [(ONE, True)]),
        ("-abc_efghij_30000_40000.flac", [(ONE, True)]),
        ("Yzzzzzzzzzzz.left.wav", [(OTHER, False)]),
        ("stranger_30.000.wav", []),
    ],
)
def test_a_member_of_a_tar_is_named_as_a_file_is(name, expected):
    (item,) = making.read("tar", making.tar([(name, b"1")]))
    found = shard_clips("s.tar", item, "train", TABLE, None)
    assert [(segment_of(clip), clip.is_cut) for clip in found] == expected
    if "left" not in name:
        of_file = file_clips(f"/d/{name}", "train", TABLE, None)
        assert [(segment_of(clip), clip.is_cut) for clip in of_file] == expected
        (alone,) = file_clips(f"/d/{name}", "train", None, None)
        assert shard_clips("s.tar", item, "train", None, None)[0].video_id == alone.video_id


def test_a_member_of_a_tar_with_times_in_its_json_is_named_as_a_file_is():
    members = [("Y-abc_efghij.json", b'{"start_time_seconds": 90}'), ("Y-abc_efghij.wav", b"1")]
    (item,) = making.read("tar", making.tar(members))
    (clip,) = shard_clips("s.tar", item, "train", TABLE, None)
    assert (segment_of(clip), clip.is_cut) == (TWO, True)


def test_an_id_pattern_applies_to_names_of_members_but_not_to_ids_in_a_shard():
    pattern = compile_id_pattern(r"/clip-(?P<id>.+)-16k\.")
    members = [("d/clip-zzzzzzzzzzz-16k.wav", b"1"), ("readme.wav", b"2")]
    members += [("x.json", b'{"video_id": "of its own"}'), ("x.wav", b"3")]

    def found(table: SegmentTable | None) -> list[str]:
        items = making.read("tar", making.tar(members))
        clips = [clip for item in items for clip in shard_clips("s", item, "train", table, None, pattern)]
        return [clip.video_id for clip in clips]

    assert found(None) == ["zzzzzzzzzzz", "of its own"]
    assert found(TABLE) == ["zzzzzzzzzzz"]


def test_segments_join_clips_of_shards_by_id_and_start():
    def joined(item: ShardClip) -> list[tuple[Segment, bool]]:
        return [(segment_of(c), c.is_cut) for c in shard_clips("s.tar", item, "train", TABLE, None)]

    assert joined(ShardClip(0, "-abc_efghij", b"", start_s=90.0)) == [(TWO, True)]
    assert joined(ShardClip(0, "-abc_efghij", b"")) == [(ONE, False), (TWO, False)]
    assert joined(ShardClip(0, "-abc_efghij", b"", start_s=91.0)) == []
    assert joined(ShardClip(0, "stranger", b"")) == []


def test_among_segments_with_the_same_start_a_clip_matches_the_one_with_its_end():
    longer = Segment("train", "-abc_efghij", 90.0, 110.0)
    table = SegmentTable([ONE, TWO, longer])

    def joined(end_s: float | None) -> list[Segment]:
        item = ShardClip(0, "-abc_efghij", b"", start_s=90.0, end_s=end_s)
        return [segment_of(clip) for clip in shard_clips("s.tar", item, "train", table, None)]

    assert joined(100.0) == [TWO] and joined(110.0) == [longer]
    assert joined(None) == joined(105.0) == [TWO, longer]
