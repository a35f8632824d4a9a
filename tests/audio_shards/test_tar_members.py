import io
import tarfile
import tracemalloc

import pytest
from making import (
    BAD,
    CUT,
    FORMATS,
    PLAIN,
    clips,
    fault,
    faults,
    ids,
    offsets,
    read,
    reasons,
    tar,
)

from transforms.audio_shards.tar_members import _parse_extended


def test_devices_are_named_and_folders_are_skipped():
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


def test_a_sparse_file_is_a_fault():
    header = tarfile.TarInfo("a.wav")
    header.size, header.pax_headers = 3, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(header, io.BytesIO(b"123"))
    assert "sparse" in fault("tar", file.getvalue()).message


def test_concatenated_archives_are_read_as_one():
    assert ids(read("tar", tar([("a.wav", b"1")]) + tar([("b.wav", b"2")]))) == ["a", "b"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_header_rejects_only_its_member(form):
    """`tarfile` would end there without an error, and lose all following members."""
    shard = bytearray(tar(PLAIN, format=form))
    shard[offsets(shard)["id2.wav"] + 20] ^= 1
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        assert len(archive.getnames()) == 2
    items = read("tar", bytes(shard))
    assert ids(items) == ["id0", "id1", "id3", "id4", "id5"]
    assert reasons(items)[2] == BAD and items[2].offset == offsets(tar(PLAIN, format=form))["id2.wav"]


def test_a_header_of_zeros_is_damaged_and_not_the_end():
    shard = bytearray(tar(PLAIN))
    at = offsets(shard)["id2.wav"]
    shard[at : at + 512] = bytes(512)
    assert ids(read("tar", bytes(shard))) == ["id0", "id1", "id3", "id4", "id5"]


def test_a_damaged_last_header_is_one_fault():
    shard = bytearray(tar(PLAIN))
    shard[offsets(shard)["id5.wav"] + 20] ^= 1
    assert reasons(read("tar", bytes(shard))) == [None] * 5 + [BAD]


def test_one_block_of_zeros_after_a_damaged_header_is_no_end_of_the_archive():
    """It may be the audio of a member whose header is damaged."""
    shard = bytearray(tar(PLAIN))
    at = offsets(shard)["id5.wav"]
    shard[at + 20] ^= 1
    end = at + 512 + 3 * 512  # its audio has 1400 bytes
    for num_blocks, reason in ((0, CUT), (1, CUT), (2, BAD)):
        assert reasons(read("tar", bytes(shard[: end + num_blocks * 512]))) == [None] * 5 + [reason]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("place", [20, 512, 515, 1024 + 20])
def test_a_damaged_long_name_rejects_only_its_member(form, place):
    members = [("a.wav", b"1"), ("é" * 120 + ".wav", b"2"), ("c.wav", b"3")]
    shard = bytearray(tar(members, format=form))
    shard[1024 + place] ^= 1 << 6
    items = read("tar", bytes(shard))
    assert ids(items)[0] == "a" and ids(items)[-1] == "c"
    assert faults(items) or (form == tarfile.GNU_FORMAT and place in (512, 515))  # a name has no checksum


def test_a_cut_between_two_members_shows_in_the_missing_end_marker():
    shard = tar(PLAIN)
    at = offsets(shard)["id3.wav"]
    with tarfile.open(fileobj=io.BytesIO(shard[:at])) as archive:
        assert len(archive.getnames()) == 3  # without an error
    for cut in (at, at + 1, at + 511):
        items = read("tar", shard[:cut])
        assert ids(items) == ["id0", "id1", "id2"] and reasons(items)[3:] == [CUT]
    (clip, bad) = read("tar", tar([("a.wav", bytes(512))])[: 512 + 512])
    assert (clip.video_id, bad.reason) == ("a", CUT)
    assert reasons(read("tar", tar([("a.wav", b"1")])[: 512 + 512 + 512])) == [None]


def test_garbage_is_one_fault():
    assert fault("tar", b"\xff" * 5000).reason == CUT
    assert fault("tar", b"no archive").reason == CUT


def test_an_implausible_size_takes_no_memory():
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


@pytest.mark.parametrize(
    "data, attributes",
    [
        (b"12 path=abc\n", {"path": "abc"}),
        (b"12 path=abc\n11 size=20\n", {"path": "abc", "size": "20"}),
        (b"12 path=abcX", None),  # it does not end in a line break
        (b"13 path=abc\n", None),  # it ends after the data
        (b"8 path=abc\n", None),  # it ends in its name
        (b"path=abc\n", None),
        (b"10 size=x\n", None),
        (b"29 size=" + b"1" * 20 + b"\n", {"size": "1" * 20}),
        (b"30 size=" + b"1" * 21 + b"\n", None),
    ],
)
def test_an_extended_header_has_whole_records_and_a_plausible_size(data, attributes):
    assert _parse_extended(tarfile.XHDTYPE, data + bytes(100)) == attributes


@pytest.mark.parametrize("num_blocks", [0, 1, 3])
def test_after_an_old_sparse_file_with_lists_of_holes_the_next_member_is_read(num_blocks):
    header = tarfile.TarInfo("sparse.wav")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 700
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482], block[148:156] = num_blocks > 0, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    holes = [bytearray(512) for _ in range(num_blocks)]
    for hole in holes[:-1]:
        hole[504] = 1  # another follows
    items = read("tar", bytes(block) + b"".join(holes) + b"x" * 700 + bytes(324) + tar([("b.wav", b"1")]))
    assert reasons(items) == [BAD, None] and ids(items) == ["b"]
    assert "'sparse.wav' is a sparse file" in items[0].message
