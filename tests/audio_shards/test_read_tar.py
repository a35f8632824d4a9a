import gzip
import io
import json
import subprocess
import tarfile
import tracemalloc

import av
import pytest
import soundfile
from making import CLIPS, COLUMNS, PACKED, Pipe, clips, fault, faults, fields, read, reasons, sample, tar
from sounds import noise

from transforms.audio_shards.items import ShardClip, ShardFault, parse_columns
from transforms.audio_shards.read_tar import read_tar
from transforms.errors import Reason

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
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
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
        ("only.txt", b"a sample without audio"),
    ]
    items = read("tar", tar(members))
    assert ids(items) == ["a", "b", "c\nd"]
    assert [clip.labels for clip in clips(items)] == [(), (3,), ()]
    assert [(bad.video_id, bad.reason) for bad in faults(items)] == [("a", BAD), ("only", BAD)]
    assert "has a JSON but no audio" in faults(items)[0].message
    assert "none of its files is audio ('only.txt')" in faults(items)[1].message


@pytest.mark.parametrize(
    "extension",
    ["wav", "flac", "oga", "opus", "mp3", "m4a", "webm", "aac", "AIF", "au", "WMA", "mov", "mp2", "left.wav"],
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
        (b"[1]", "it is not an object"),
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


def test_what_is_no_file_is_named_and_folders_are_passed_over():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in [
            ("a", tarfile.DIRTYPE),
            ("a.d", tarfile.DIRTYPE),
            ("a/device.wav", tarfile.CHRTYPE),
            ("a/pipe.wav", tarfile.FIFOTYPE),
            ("a/part.wav", b"M"),
        ]:
            header = tarfile.TarInfo(name)
            header.type = kind
            archive.addfile(header)
        header = tarfile.TarInfo("a/b.wav")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"123"))
    items = read("tar", file.getvalue())
    assert [(c.video_id, c.audio) for c in clips(items)] == [("b", b"123")]
    assert [bad.video_id for bad in faults(items)] == ["device", "pipe", "part"]
    assert all(bad.reason is BAD and "is a device, pipe or part" in bad.message for bad in faults(items))


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


@pytest.mark.parametrize("members", [[("README", b"")], [("._a.wav", b"1"), (".hidden", b"2")]])
def test_an_archive_that_gives_nothing_is_a_fault(members):
    bad = fault("tar", tar(members))
    assert bad.reason is BAD and "none of the archive's files is audio" in bad.message


def sounds() -> dict[str, bytes]:
    """Extension -> the first bytes of such a file: those that libsndfile writes, and MPEG audio by ffmpeg."""
    found = {}
    for form in ("WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "RF64", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, noise(0.3), 16_000, format=form)
        found[form.lower()] = file.getvalue()
    for form, codec, kind in [
        ("mp2", "mp2", "s16"),
        ("adts", "aac", "fltp"),
        ("mov", "aac", "fltp"),
    ]:
        file = io.BytesIO()
        with av.open(file, "w", format=form) as output:
            stream = output.add_stream(codec, rate=16_000, layout="mono")
            samples = noise(0.6)[:8064].T * (2**15 if kind == "s16" else 1)
            samples = samples.astype("int16" if kind == "s16" else "float32")
            frame = av.AudioFrame.from_ndarray(samples, kind, "mono")
            frame.sample_rate = 16_000
            output.mux([*stream.encode(frame), *stream.encode(None)])
        found[form] = file.getvalue()
    return found


SOUNDS = sounds()


@pytest.mark.parametrize("form", SOUNDS)
@pytest.mark.parametrize("name", ["a.wav.data", "a.bin", "a"])
def test_audio_of_an_unknown_extension_is_known_by_its_content(form, name):
    others = [
        ("a.txt", b"words"),
        ("a.jpg", b"\xff\xd8\xff\xe0" * 40),
        ("a.npy", bytes(5000)),
        ("a.cls", b"7"),
    ]
    for members in ([*others, (name, SOUNDS[form])], [(name, SOUNDS[form]), *others]):
        (clip,) = read("tar", tar(members))
        assert (clip.video_id, clip.audio) == ("a", SOUNDS[form])
        assert clip.offset == offsets(tar(members))[name]


@pytest.mark.parametrize(
    "data",
    [b"", b"text " * 2000, b"\xff" * 9000, b"\xff\xfb\x90\xc4" * 2000, b"....ftypavif" * 9, bytes(9000)],
)
def test_what_is_no_audio_is_not_taken_for_it(data):
    bad, good = read("tar", tar([("a.bin", data), ("b.wav", b"1")]))
    assert (bad.reason, bad.video_id, good.video_id) == (BAD, "a", "b") and "'a.bin'" in bad.message


def test_two_audio_files_of_a_key_are_a_fault_however_known():
    for second in ("a.data", "a.mp3"):
        good, bad = read("tar", tar([("a.wav", SOUNDS["wav"]), (second, SOUNDS["mp3"])]))[::-1]
        assert good.audio == SOUNDS["wav"] and bad.offset == offsets(tar([("a.wav", SOUNDS["wav"])]))[
            "a.wav"
        ] + (512 + -(-len(SOUNDS["wav"]) // 512) * 512)


def test_a_json_apart_from_its_audio_leaves_no_clip_without_its_fields():
    """An archive that nobody sorted: JSON before, JSON after, and a sample that is whole."""
    members = [("a.json", b'{"labels": [1]}'), ("b.wav", b"2"), ("a.wav", b"1"), ("c.wav", b"3")]
    members += [("b.json", b'{"labels": [2]}'), ("d.json", b'{"labels": [4]}'), ("d.wav", b"4")]
    for pack in PACKED.values():
        items = list(read_tar(io.BytesIO(pack(tar(members))), COLUMNS))
        assert [(clip.video_id, clip.labels) for clip in clips(items)] == [("c", ()), ("d", (4,))]
        assert [bad.video_id for bad in faults(items)] == ["a", "b", "a", "b"]
        assert ["tar --sort=name" in bad.message for bad in faults(items)] == [False, True, True, False]


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
def test_decimal_points_of_times_end_no_key(name, key):
    members = [(name, b"1"), (f"{name.rpartition('.')[0].removesuffix('.left')}.json", b'{"labels": [5]}')]
    (clip,) = read("tar", tar(members)) if key != "a" else read("tar", tar([(name, b"1")]))
    assert clip.video_id == key and clip.labels == ((5,) if key != "a" else ())


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
    monkeypatch.setattr("transforms.audio_shards.read_tar.MAX_AUDIO_BYTES", 1000)
    monkeypatch.setattr("transforms.audio_shards.read_tar._MAX_JSON_BYTES", 100)
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


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def linked(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files (name, data) and links, in this order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tuple):
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                archive.addfile(header, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return file.getvalue()


def read_again(shard: bytes) -> list:
    """As a file that can be read more than once."""
    return list(read_tar(io.BytesIO(shard), COLUMNS))


SYM = tarfile.SYMTYPE


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_a_link_is_its_targets_audio(form, pack):
    shard = linked(
        link("d/before.wav", "a.wav", SYM),
        ("d/a.wav", b"first"),
        link("d/hard.wav", "d/a.wav"),
        ("d/x.json", b'{"video_id": "of its own", "labels": [3]}'),
        link("d/x.wav", "./../d/a.wav", SYM),
        link("chain.wav", "d/hard.wav"),
        ("other.flac", b"second"),
        link("e/up.flac", "../other.flac", SYM),
        link("y.flac", "./other.flac"),
        ("y.json", b'{"split": "eval"}'),
        form=form,
    )
    items = read_again(pack(shard))
    assert not faults(items)
    found = {clip.video_id: clip for clip in items}
    assert {video_id: clip.audio for video_id, clip in found.items()} == {
        **dict.fromkeys(["before", "a", "hard", "of its own", "chain"], b"first"),
        **dict.fromkeys(["other", "up", "y"], b"second"),
    }
    assert found["of its own"].labels == (3,) and found["y"].split == "eval"
    names = {"of its own": "d/x.wav", "before": "d/before.wav", "up": "e/up.flac", "y": "y.flac"}
    assert all(found[video_id].offset == offsets(shard)[name] for video_id, name in names.items())


def test_what_gnu_tar_writes_of_hard_links_is_read(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(b"%d" % number)
        (folder / f"{number}-again.wav").hardlink_to(folder / f"{number}.wav")
        (folder / f"{number}-soft.wav").symlink_to(f"{number}.wav")
    for options in ([], ["--format=ustar"], ["-z"]):
        subprocess.run(["tar", *options, "-cf", tmp_path / "a.tar", "-C", tmp_path, "clips"], check=True)
        items = read_again((tmp_path / "a.tar").read_bytes())
        expected = [(f"{n}{kind}", b"%d" % n) for n in range(3) for kind in ("", "-again", "-soft")]
        assert sorted((clip.video_id, clip.audio) for clip in items) == sorted(expected)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_targets_are_read(form):
    name = "目録/" * 50 + "é" * 60 + ".wav"
    items = read_again(linked((name, b"1"), link("b.wav", name), link("c.wav", name, SYM), form=form))
    assert sorted(ids(items)) == ["b", "c", "é" * 60]


def test_of_two_files_with_one_name_each_link_means_its_own():
    """A hard link the last before it, a symbolic link what is there when all is unpacked; as tar does."""
    shard = linked(
        link("soft.wav", "a.wav", SYM),
        ("a.wav", b"old"),
        link("hard.wav", "a.wav"),
        ("b.wav", b"b"),
        ("a.wav", b"new"),
    )
    found = {clip.video_id: clip.audio for clip in read_again(shard) if clip.video_id != "a"}
    assert found == {"soft": b"new", "hard": b"old", "b": b"b"}


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (link("x.wav", "/etc/passwd", SYM), "symbolic link to '/etc/passwd'"),
        (link("x.wav", "/etc/passwd"), "hard link to '/etc/passwd'"),
        (link("x.wav", "../../a.wav", SYM), "symbolic link to '../../a.wav'"),
        (link("x.wav", "none.wav"), "hard link to 'none.wav'"),
        (link("x.wav", "z.wav"), "hard link to 'z.wav'"),
        (link("x.wav", "x.wav", SYM), "symbolic link to 'x.wav'"),
        (link("x.wav", "folder", SYM), "symbolic link to 'folder'"),
        (link("x", "/etc/passwd", SYM), "symbolic link to '/etc/passwd'"),
        (link("x.data", "words.txt", SYM), "symbolic link to 'words.txt': it is not audio"),
    ],
)
def test_a_link_that_leads_to_no_audio_of_the_archive_is_named(header, shown):
    """Out of it, to nothing, to what a hard link cannot mean yet, to itself, to a folder, to text."""
    items = read_again(
        linked(("a.wav", b"1"), ("a.json", b"{}"), ("a.txt", b"words"), header, ("z.wav", b"2"))
    )
    if "words" in shown:
        items = read_again(linked(("words.txt", b"words"), ("words.wav", b"1"), header, ("z.wav", b"2")))
    (bad,) = faults(items)
    assert (bad.reason, bad.video_id) == (BAD, "x") and shown in bad.message and len(clips(items)) == 2


def test_a_link_without_known_extension_is_known_by_its_target():
    shard = linked(
        ("a.wav", b"1"),
        ("s.data", SOUNDS["mp3"]),
        ("t", b"text"),
        link("b.data", "a.wav"),
        link("c", "s.data"),
        link("d", "t"),
    )
    items = read_again(shard)
    assert not faults(items) and sorted(ids(items)) == ["a", "b", "c", "s"]


def test_a_link_is_the_second_audio_of_a_key_or_its_json_or_beside_its_audio():
    shard = linked(("a.wav", b"1"), link("a.mp3", "b.wav", SYM), link("a.txt", "c.txt", SYM), ("b.wav", b"2"))
    items = read_again(shard)
    assert sorted(ids(items)) == ["a", "b"] and "'a.mp3' is a second audio" in faults(items)[0].message
    shard = linked(("a.json", b'{"labels": [1]}'), ("a.wav", b"1"), link("b.json", "a.json"), ("b.wav", b"2"))
    items = read_again(shard)
    assert ids(items) == ["a"] and "'b.json' is a hard link; pack it as a file" in faults(items)[0].message


def test_a_file_that_is_read_once_names_its_links():
    shard = linked(("a.wav", b"1"), link("b.wav", "a.wav"))
    items = read("tar", shard)
    assert ids(items) == ["a"] and "read only once" in faults(items)[0].message


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_links_of_a_shard_that_is_cut_off_are_faults_or_their_targets(pack):
    whole = linked(
        *[(f"{n}.wav", b"%d" % n * 9000) for n in range(4)],
        *[link(f"l{n}.wav", f"{n}.wav") for n in range(4)],
    )
    shard = pack(whole)
    end = len(whole.rstrip(b"\0")) if pack is bytes else len(shard)
    for cut in range(40, end, max(1, end // 25)):
        items = read_again(shard[:cut])
        assert reasons(items).index(CUT) == len(items) - 1
        for clip in clips(items):
            assert clip.audio == clip.video_id[-1].encode() * 9000


def test_many_links_take_little_memory(monkeypatch):
    monkeypatch.setattr("transforms.audio_shards.tar_links._MAX_KEPT_BYTES", 20_000)
    items = read_again(linked(("a.wav", b"1"), *[link(f"{n}.wav", "a.wav") for n in range(60)]))
    assert len(items) == 61 and 30 < len(clips(items)) < 61
    assert {bad.message.split(": ")[1] for bad in faults(items)} == {
        "the archive has more links than can be followed; split it"
    }


def test_an_archive_of_too_many_files_says_so(monkeypatch):
    monkeypatch.setattr("transforms.audio_shards.tar_links._MAX_MEMBERS", 5)
    (*bad, good) = read_again(tar([*PLAIN, *sample(CLIPS[0])]))
    assert {item.message for item in bad} == {
        "the archive has too many files to check whether its JSON is elsewhere; split it"
    }
    assert len(bad) == len(PLAIN) and good.labels == CLIPS[0].labels
