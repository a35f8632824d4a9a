import tarfile

import pytest
from encoded_sounds import SOUNDS
from making import BAD, clips, fault, faults, ids, offsets, read, tar

from transforms.audio_shards.items import ShardClip
from transforms.audio_shards.tar_members import Kind, Member
from transforms.audio_shards.tar_sample import Sample, split_name


def test_without_json_the_id_is_the_base_name_and_other_fields_are_empty():
    assert read("tar", tar([("x/y/-a b.wav", b"1")])) == [ShardClip(0, "-a b", b"1")]


def test_keys_are_split_as_webdataset_does():
    members = [
        ("./train.d/a.wav", b"1"),
        ("train.d/a.json", b'{"video_id": "of another key"}'),
        ("b.left.wav", b"2"),
        ("b.meta.json", b"no sample's JSON: its extension is meta.json"),
        ("b.JSON", b'{"labels": [3]}'),
        ("b.txt", b"passed over"),
        ("c\nd.Flac", b"3"),
        ("README", b"no extension"),
        (".hidden.wav", b"no key"),
        ("__MACOSX/._c.wav", b"no key"),
        ("only.txt", b"a sample without audio"),
    ]
    items = read("tar", tar(members))
    assert ids(items) == ["a", "b", "c\nd"]
    assert [clip.labels for clip in clips(items)] == [(), (3,), ()]
    assert [(bad.video_id, bad.reason) for bad in faults(items)] == [("a", BAD), ("only", BAD)]
    assert "has a JSON but no audio" in faults(items)[0].message
    assert "none of its files is audio ('only.txt')" in faults(items)[1].message


def test_the_second_audio_of_a_key_is_a_fault():
    items = read("tar", tar([("a.wav", b"1"), ("a.mp3", b"2"), ("a.json", b"{}"), ("b.wav", b"3")]))
    assert [(c.video_id, c.audio) for c in clips(items)] == [("a", b"1"), ("b", b"3")]
    (bad,) = faults(items)
    assert (bad.offset, bad.reason, bad.video_id) == (1024, BAD, "a") and "a.mp3" in bad.message


def test_a_name_that_is_not_utf8_rejects_only_its_clip():
    shard = tar(
        [("caf\udce9.wav", b"1"), ("b.wav", b"2")], errors="surrogateescape", format=tarfile.GNU_FORMAT
    )
    bad, good = read("tar", shard)
    assert bad.reason == BAD and good.video_id == "b"
    str(bad).encode()


def test_two_audio_files_of_a_key_are_a_fault_whether_by_name_or_content():
    for second in ("a.data", "a.mp3"):
        good, bad = read("tar", tar([("a.wav", SOUNDS["wav"]), (second, SOUNDS["mp3"])]))[::-1]
        assert good.audio == SOUNDS["wav"] and bad.offset == offsets(tar([("a.wav", SOUNDS["wav"])]))[
            "a.wav"
        ] + (512 + -(-len(SOUNDS["wav"]) // 512) * 512)


def test_a_second_json_of_a_key_is_a_fault():
    members = [("a.json", b'{"labels": [1]}'), ("a.wav", b"1"), ("a.json", b'{"labels": [2]}')]
    assert "a second JSON" in fault("tar", tar(members)).message


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("x/a.left.wav", "a"),
        ("a_30.000.wav", "a_30.000"),
        ("a_30.5_40.5.wav", "a_30.5_40.5"),
        ("a_30_40.5.wav", "a_30_40.5"),
        ("a_30.000.left.wav", "a_30.000"),
        ("a_1.wav", "a_1"),
        ("a.b_1.5.wav", "a"),
    ],
)
def test_decimal_points_of_times_belong_to_the_key(name, key):
    members = [(name, b"1"), (f"{name.rpartition('.')[0].removesuffix('.left')}.json", b'{"labels": [5]}')]
    (clip,) = read("tar", tar(members)) if key != "a" else read("tar", tar([(name, b"1")]))
    assert clip.video_id == key and clip.labels == ((5,) if key != "a" else ())


@pytest.mark.parametrize(
    ("name", "key", "base", "extension"),
    [
        ("a.wav", "a", "a", "wav"),
        ("x.d/y/a.left.WAV", "x.d/y/a", "a", "left.wav"),
        ("x/a_1.5_2.wav", "x/a_1.5_2", "a_1.5_2", "wav"),
        ("README", "README", "README", ""),
        ("x/.hidden.wav", "", "", "hidden.wav"),
    ],
)
def test_a_name_is_split_into_key_base_and_extension(name, key, base, extension):
    assert split_name(name) == (key, base, extension)


def test_a_sample_is_half_if_audio_or_an_expected_json_is_missing():
    assert not Sample("a", "a").is_half(True) and Sample("a", "a", values={}).is_half(False)
    assert not Sample("a", "a", audio=b"1").is_half(False) and Sample("a", "a", audio=b"1").is_half(True)
    assert not Sample("a", "a", audio=b"1", values={}).is_half(True)


def test_the_first_file_that_is_not_audio_is_kept_for_the_message():
    first, second = Member(512, "a.txt", 1), Member(1024, "a.jpg", 1)
    sample = Sample("a", "a").with_other(first).with_other(second)
    assert (sample.others, sample.offset) == (("a.txt",), 512)
    assert Sample("a", "a", 5, values={}).with_other(first).offset == 5
    link = Member(1536, "a.data", 0, Kind.HARD_LINK, "b.wav")
    assert sample.with_other(link).link == link and sample.with_other(link).with_other(link).link == link
    assert Sample("a", "a", audio=b"1").with_other(link).link is None
