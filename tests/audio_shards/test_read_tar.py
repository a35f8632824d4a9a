import gzip
import io
import json
import tracemalloc

import pytest
from making import (
    BAD,
    CLIPS,
    COLUMNS,
    CUT,
    FORMATS,
    MEMBERS,
    PACKED,
    PLAIN,
    Pipe,
    clips,
    fault,
    faults,
    fields,
    offsets,
    read,
    reasons,
    sample,
    tar,
)

from transforms.audio_shards.items import ShardClip, ShardFault, parse_columns
from transforms.audio_shards.read_tar import read_tar


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_all_fields_are_read(form, pack):
    shard = tar(MEMBERS, format=form)
    items = read("tar", pack(shard))
    assert [fields(item) for item in items] == [fields(clip) for clip in CLIPS]
    assert [item.audio for item in items] == [clip.audio for clip in CLIPS]
    assert [item.offset for item in items] == [offsets(shard)[f"{clip.video_id}.wav"] for clip in CLIPS]
    assert list(read_tar(Pipe([pack(shard)], 100), COLUMNS)) == items


def test_json_has_the_names_of_the_columns():
    members = [("a.json", b'{"id": 7, "s": 2, "labels": "Dog", "audio": "a.wav"}'), ("a.wav", b"1")]
    items = read("tar", tar(members), parse_columns("video_id=id,start_time_seconds=s,audio=audio/encoded"))
    assert [(c.video_id, c.start_s, c.labels, c.audio) for c in items] == [("7", 2.0, ("Dog",), b"1")]


def test_json_may_follow_its_audio():
    (clip,) = read("tar", tar([("a.wav", b"1"), ("a.json", b'{"split": "eval"}')]))
    assert (clip.split, clip.offset) == ("eval", 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b'{"labels"', "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
        (b"[1]", "it is not an object"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"labels": [1.5]}', "labels has"),
        (b'{"video_id": "\\ud800"}', "not Unicode"),
        (b'{"start_time_seconds": NaN}', "not a time"),
        (b'{"end_time_seconds": 1e999}', "not a time"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_bad_json_rejects_only_its_sample(data, message, order):
    broken = [("b.json", data), ("b.wav", b"2")][::order]
    before, bad, after = read("tar", tar([("a.wav", b"1"), *broken, ("c.wav", b"3")]))
    assert (before.video_id, after.video_id) == ("a", "c")
    assert isinstance(bad, ShardFault) and bad.reason == BAD and message in bad.message
    assert bad.offset > 0


def test_an_empty_archive_has_no_clips_and_an_empty_file_is_cut_off():
    assert read("tar", tar([])) == []
    assert fault("tar", b"").reason == CUT


@pytest.mark.parametrize("members", [[("README", b"")], [("._a.wav", b"1"), (".hidden", b"2")]])
def test_an_archive_without_audio_is_a_fault(members):
    bad = fault("tar", tar(members))
    assert bad.reason is BAD and "none of the archive's files is audio" in bad.message


@pytest.mark.parametrize("member", ["id2.json", "id2.wav"])
def test_a_damaged_header_never_leaves_half_a_sample(member):
    shard = bytearray(tar(MEMBERS))
    shard[offsets(shard)[member] + 20] ^= 1
    items = read("tar", bytes(shard))
    assert [fields(item) for item in clips(items)] == [fields(c) for c in CLIPS if c.video_id != "id2"]
    assert set(reasons(faults(items))) == {BAD} and faults(items)[-1].video_id == "id2"


def test_a_shard_that_ends_in_a_member_gives_the_clips_before_it():
    shard = tar(MEMBERS)
    for member, cut in [("id3.wav", 512 + 100), ("id3.wav", 512), ("id3.json", 512 + 10), ("id3.json", 511)]:
        items = read("tar", shard[: offsets(shard)[member] + cut])
        assert reasons(items) == [None, None, None, CUT]
        assert items[-1].offset == offsets(shard)[member]
        assert items[-1].video_id == (None if cut == 511 else "id3")


def test_a_sample_whose_json_is_cut_off_is_a_fault():
    members = [*sample(CLIPS[0])[::-1], *sample(CLIPS[1])[::-1], *sample(CLIPS[2])[::-1]]
    shard = tar(members)
    at = offsets(shard)["id1.json"]
    assert reasons(read("tar", shard[: at + 512 + 10])) == [None, CUT]
    for cut in (at, at + 100):
        items = read("tar", shard[:cut])
        assert reasons(items) == [None, CUT] and items[1].video_id == "id1"


def test_a_gzip_shard_that_is_cut_off_ends_with_one_fault():
    shard = gzip.compress(tar(PLAIN), mtime=0)
    whole = read("tar", shard)
    for cut in range(12, len(shard), 97):
        items = read("tar", shard[:cut])
        assert reasons(faults(items)) == [CUT]
        assert clips(items) == items[:-1] == whole[: len(items) - 1]
        assert "gzip" in items[-1].message


def test_a_file_too_large_for_a_clip_is_a_fault(monkeypatch):
    monkeypatch.setattr("transforms.audio_shards.read_tar.MAX_AUDIO_BYTES", 1000)
    monkeypatch.setattr("transforms.audio_shards.read_tar._MAX_JSON_BYTES", 100)
    members = [("a.wav", bytes(1001)), ("b.wav", bytes(1000)), ("c.wav", b"1"), ("c.json", bytes(101))]
    assert reasons(read("tar", tar(members))) == [BAD, None, BAD]


def test_memory_does_not_grow_with_the_shard():
    def parts():
        for n in range(200):
            yield tar([(f"{n}.wav", bytes(1_000_000)), (f"{n}.json", json.dumps({"labels": [n]}).encode())])

    tracemalloc.start()
    count = sum(isinstance(item, ShardClip) for item in read_tar(Pipe(parts()), COLUMNS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 and peak < 12_000_000


def test_only_the_sample_after_damage_must_have_a_json():
    shard = bytearray(tar([*MEMBERS[:6], ("plain.wav", b"1")]))
    shard[offsets(shard)["id1.json"] + 20] ^= 1
    items = read("tar", bytes(shard))
    assert [item.video_id for item in items] == ["id0", None, "id1", "id2", "plain"]
    assert reasons(items) == [None, BAD, BAD, None, None]
    assert "follows a damaged part of the shard" in items[2].message


def test_each_fault_of_a_sample_has_its_place_reason_and_id():
    members = [("d/a.left.wav", b"1"), ("d/a.right.wav", b"2"), ("b.wav", b"3"), ("b.json", b"{}")]
    shard = tar([*members, ("b.json", b"{}"), ("c.wav", b"4")])
    second, first, bad, last = read("tar", shard)
    assert (second.offset, second.reason, second.video_id) == (offsets(shard)["d/a.right.wav"], BAD, "a")
    assert "'d/a.right.wav' is a second audio file of its key" in second.message
    assert (first.video_id, first.name, first.audio) == ("a", "d/a.left.wav", b"1")
    assert (bad.reason, bad.video_id) == (BAD, "b") and "is a second JSON of its key" in bad.message
    assert (last.video_id, last.name) == ("c", "c.wav")


def test_a_json_apart_from_its_audio_is_a_fault_if_the_file_can_be_read_twice():
    shard = tar([("a.wav", b"1"), ("b.wav", b"2"), ("a.json", b"{}")])
    items = list(read_tar(io.BytesIO(shard), COLUMNS))
    assert reasons(items) == [BAD, None, BAD] and items[0].video_id == "a"
    assert "its JSON is elsewhere in the archive, not next to it" in items[0].message
