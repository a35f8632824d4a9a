import gzip
import io
import json
import tarfile
import tracemalloc

import pytest
from making import CLIPS, COLUMNS, Pipe, clips, fault, faults, fields, read, reasons, sample, tar

from transforms.errors import Reason
from transforms.shards.items import ShardClip, ShardFault, parse_columns
from transforms.shards.tar import read_tar

BAD, CUT = Reason.BAD_RECORD, Reason.TRUNCATED_SHARD
MEMBERS = [member for clip in CLIPS for member in sample(clip)]
PLAIN = [(f"id{n}.wav", clip.audio) for n, clip in enumerate(CLIPS)]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def offsets(shard: bytes) -> dict[str, int]:
    """Member -> where its first header begins."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        return {member.name: member.offset for member in archive}


def ids(items) -> list[str]:
    return [item.video_id for item in clips(items)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_all_fields_come_back(form, pack):
    shard = tar(MEMBERS, format=form)
    items = read("tar", pack(shard))
    assert [fields(item) for item in items] == [fields(clip) for clip in CLIPS]
    assert [item.audio for item in items] == [clip.audio for clip in CLIPS]
    assert [item.offset for item in items] == [offsets(shard)[f"{clip.video_id}.wav"] for clip in CLIPS]
    assert list(read_tar(Pipe([pack(shard)], 100), COLUMNS)) == items


def test_without_json_the_id_is_the_base_name_and_nothing_else_is_known():
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
        ("only.txt", b"no sample"),
    ]
    items = read("tar", tar(members))
    assert ids(items) == ["a", "b", "c\nd"]
    assert [clip.labels for clip in clips(items)] == [(), (3,), ()]
    (bad,) = faults(items)
    assert (bad.video_id, bad.reason) == ("a", BAD) and "no audio" in bad.message


@pytest.mark.parametrize(
    "extension", ["wav", "flac", "oga", "opus", "mp3", "m4a", "webm", "aac", "AIF", "au", "WMA"]
)
def test_audio_is_known_by_its_extension(extension):
    assert ids(read("tar", tar([(f"a.{extension}", b"1")]))) == ["a"]


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
        (b"[1]", "it is no object"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"labels": [1.5]}', "labels has"),
        (b'{"video_id": "\\ud800"}', "not Unicode"),
        (b'{"start_time_seconds": NaN}', "not a time"),
        (b'{"end_time_seconds": 1e999}', "not a time"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_bad_json_costs_its_sample(data, message, order):
    broken = [("b.json", data), ("b.wav", b"2")][::order]
    before, bad, after = read("tar", tar([("a.wav", b"1"), *broken, ("c.wav", b"3")]))
    assert (before.video_id, after.video_id) == ("a", "c")
    assert isinstance(bad, ShardFault) and bad.reason == BAD and message in bad.message
    assert bad.offset > 0


def test_the_second_audio_of_a_key_is_a_fault():
    items = read("tar", tar([("a.wav", b"1"), ("a.mp3", b"2"), ("a.json", b"{}"), ("b.wav", b"3")]))
    assert [(c.video_id, c.audio) for c in clips(items)] == [("a", b"1"), ("b", b"3")]
    (bad,) = faults(items)
    assert (bad.offset, bad.reason, bad.video_id) == (1024, BAD, "a") and "a.mp3" in bad.message


def test_what_is_no_regular_file_is_passed_over():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in [
            ("a", tarfile.DIRTYPE),
            ("a/link.wav", tarfile.SYMTYPE),
            ("a/hard.wav", tarfile.LNKTYPE),
            ("a/device.wav", tarfile.CHRTYPE),
            ("a/pipe.wav", tarfile.FIFOTYPE),
        ]:
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "x" * 200
            archive.addfile(header)
        header = tarfile.TarInfo("a/b.wav")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"123"))
    assert [(c.video_id, c.audio) for c in read("tar", file.getvalue())] == [("b", b"123")]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_names_in_any_script(form):
    name = "目録/" * 50 + "x" * 150 + "é"
    members = [(f"{name}.wav", b"1"), (f"{name}.json", b'{"labels": [4]}')]
    (clip,) = read("tar", tar(members, format=form))
    assert (clip.video_id, clip.labels, clip.offset) == ("x" * 150 + "é", (4,), 0)


def test_a_name_that_is_not_utf8_costs_its_clip():
    shard = tar(
        [("caf\udce9.wav", b"1"), ("b.wav", b"2")], errors="surrogateescape", format=tarfile.GNU_FORMAT
    )
    bad, good = read("tar", shard)
    assert bad.reason == BAD and good.video_id == "b"
    str(bad).encode()


def test_a_sparse_file_is_a_fault():
    header = tarfile.TarInfo("a.wav")
    header.size, header.pax_headers = 3, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(header, io.BytesIO(b"123"))
    assert "sparse" in fault("tar", file.getvalue()).message


def test_archives_one_behind_the_other_are_read_as_one():
    assert ids(read("tar", tar([("a.wav", b"1")]) + tar([("b.wav", b"2")]))) == ["a", "b"]


def test_an_archive_with_nothing_in_it():
    assert read("tar", tar([])) == []
    assert fault("tar", b"").reason == CUT


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_header_costs_its_member(form):
    """Where `tarfile` would end without a word, and lose all that follows."""
    shard = bytearray(tar(PLAIN, format=form))
    shard[offsets(shard)["id2.wav"] + 20] ^= 1
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        assert len(archive.getnames()) == 2
    items = read("tar", bytes(shard))
    assert ids(items) == ["id0", "id1", "id3", "id4", "id5"]
    assert reasons(items)[2] == BAD and items[2].offset == offsets(tar(PLAIN, format=form))["id2.wav"]


@pytest.mark.parametrize("member", ["id2.json", "id2.wav"])
def test_a_damaged_header_of_a_sample_never_gives_half_of_it(member):
    shard = bytearray(tar(MEMBERS))
    shard[offsets(shard)[member] + 20] ^= 1
    items = read("tar", bytes(shard))
    assert [fields(item) for item in clips(items)] == [fields(c) for c in CLIPS if c.video_id != "id2"]
    assert set(reasons(faults(items))) == {BAD} and faults(items)[-1].video_id == "id2"


def test_a_header_of_zeros_is_damaged_and_not_the_end():
    shard = bytearray(tar(PLAIN))
    at = offsets(shard)["id2.wav"]
    shard[at : at + 512] = bytes(512)
    assert ids(read("tar", bytes(shard))) == ["id0", "id1", "id3", "id4", "id5"]


def test_the_last_header_damaged_is_one_fault():
    shard = bytearray(tar(PLAIN))
    shard[offsets(shard)["id5.wav"] + 20] ^= 1
    assert reasons(read("tar", bytes(shard))) == [None] * 5 + [BAD]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("place", [20, 512, 515, 1024 + 20])
def test_a_damaged_long_name_costs_its_member(form, place):
    members = [("a.wav", b"1"), ("é" * 120 + ".wav", b"2"), ("c.wav", b"3")]
    shard = bytearray(tar(members, format=form))
    shard[1024 + place] ^= 1 << 6
    items = read("tar", bytes(shard))
    assert ids(items)[0] == "a" and ids(items)[-1] == "c"
    assert faults(items) or (form == tarfile.GNU_FORMAT and place in (512, 515))  # a name has no checksum


def test_a_shard_cut_in_a_member_gives_all_before():
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


def test_a_cut_between_two_members_is_seen_by_the_missing_end():
    shard = tar(PLAIN)
    at = offsets(shard)["id3.wav"]
    with tarfile.open(fileobj=io.BytesIO(shard[:at])) as archive:
        assert len(archive.getnames()) == 3  # not a word
    for cut in (at, at + 1, at + 511):
        items = read("tar", shard[:cut])
        assert ids(items) == ["id0", "id1", "id2"] and reasons(items)[3:] == [CUT]
    (clip, bad) = read("tar", tar([("a.wav", bytes(512))])[: 512 + 512])
    assert (clip.video_id, bad.reason) == ("a", CUT)
    assert reasons(read("tar", tar([("a.wav", b"1")])[: 512 + 512 + 512])) == [None]


def test_garbage_is_one_fault():
    assert fault("tar", b"\xff" * 5000).reason == CUT
    assert fault("tar", b"no archive").reason == CUT


def test_a_gzip_shard_cut_anywhere_ends_in_one_fault():
    shard = gzip.compress(tar(PLAIN), mtime=0)
    whole = read("tar", shard)
    for cut in range(12, len(shard), 97):
        items = read("tar", shard[:cut])
        assert reasons(faults(items)) == [CUT]
        assert clips(items) == items[:-1] == whole[: len(items) - 1]
        assert "gzip" in items[-1].message


def test_a_file_too_large_for_a_clip_is_a_fault(monkeypatch):
    monkeypatch.setattr("transforms.shards.tar.MAX_AUDIO_BYTES", 1000)
    monkeypatch.setattr("transforms.shards.tar._MAX_JSON_BYTES", 100)
    members = [("a.wav", bytes(1001)), ("b.wav", bytes(1000)), ("c.wav", b"1"), ("c.json", bytes(101))]
    assert reasons(read("tar", tar(members))) == [BAD, None, BAD]


def test_an_absurd_size_takes_no_memory():
    header = tarfile.TarInfo("a.wav")
    header.size = 1 << 31
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        header.type = kind
        tracemalloc.start()
        assert fault("tar", header.tobuf(tarfile.GNU_FORMAT) + bytes(2000)).reason == CUT
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


def test_a_chain_of_long_names_does_not_recurse():
    header = tarfile.TarInfo("a")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 5
    chain = (header.tobuf() + b"a.wav".ljust(512, b"\0")) * 5000
    assert ids(read("tar", chain + tar([("x", b"1")]))) == ["a"]


def test_memory_does_not_grow_with_the_shard():
    def parts():
        for n in range(200):
            yield tar([(f"{n}.wav", bytes(1_000_000)), (f"{n}.json", json.dumps({"labels": [n]}).encode())])

    tracemalloc.start()
    count = sum(isinstance(item, ShardClip) for item in read_tar(Pipe(parts()), COLUMNS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 and peak < 12_000_000
