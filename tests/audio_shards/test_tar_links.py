import io
import subprocess
import tarfile

import pytest
from encoded_sounds import SOUNDS
from making import (
    BAD,
    CLIPS,
    COLUMNS,
    CUT,
    FORMATS,
    PACKED,
    PLAIN,
    SYM,
    clips,
    faults,
    ids,
    link,
    linked,
    offsets,
    read,
    read_again,
    reasons,
    sample,
    tar,
)

from transforms.audio_shards.read_tar import read_tar


def test_audio_whose_json_is_elsewhere_is_a_fault():
    """The archive is not sorted: a JSON comes before or after its audio, and one sample is complete."""
    members = [("a.json", b'{"labels": [1]}'), ("b.wav", b"2"), ("a.wav", b"1"), ("c.wav", b"3")]
    members += [("b.json", b'{"labels": [2]}'), ("d.json", b'{"labels": [4]}'), ("d.wav", b"4")]
    for pack in PACKED.values():
        items = list(read_tar(io.BytesIO(pack(tar(members))), COLUMNS))
        assert [(clip.video_id, clip.labels) for clip in clips(items)] == [("c", ()), ("d", (4,))]
        assert [bad.video_id for bad in faults(items)] == ["a", "b", "a", "b"]
        assert ["tar --sort=name" in bad.message for bad in faults(items)] == [False, True, True, False]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_a_link_has_the_audio_of_its_target(form, pack):
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


def test_links_that_gnu_tar_writes_are_read(tmp_path):
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


def test_each_link_leads_to_the_right_one_of_two_files_with_one_name():
    """As for tar: a hard link leads to the last one before it, a symbolic link to the last one of all."""
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
def test_a_link_that_does_not_lead_to_audio_of_the_archive_is_named(header, shown):
    """It leads outside, to nothing, to a later file, to itself, to a folder or to text."""
    items = read_again(
        linked(("a.wav", b"1"), ("a.json", b"{}"), ("a.txt", b"words"), header, ("z.wav", b"2"))
    )
    if "words" in shown:
        items = read_again(linked(("words.txt", b"words"), ("words.wav", b"1"), header, ("z.wav", b"2")))
    (bad,) = faults(items)
    assert (bad.reason, bad.video_id) == (BAD, "x") and shown in bad.message and len(clips(items)) == 2


def test_a_link_without_a_known_extension_is_recognized_by_its_target():
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


def test_links_next_to_audio_and_links_to_json_are_faults_or_ignored():
    shard = linked(("a.wav", b"1"), link("a.mp3", "b.wav", SYM), link("a.txt", "c.txt", SYM), ("b.wav", b"2"))
    items = read_again(shard)
    assert sorted(ids(items)) == ["a", "b"] and "'a.mp3' is a second audio" in faults(items)[0].message
    shard = linked(("a.json", b'{"labels": [1]}'), ("a.wav", b"1"), link("b.json", "a.json"), ("b.wav", b"2"))
    items = read_again(shard)
    assert ids(items) == ["a"] and "'b.json' is a hard link; pack it as a file" in faults(items)[0].message


def test_links_in_a_file_that_can_be_read_only_once_are_faults():
    shard = linked(("a.wav", b"1"), link("b.wav", "a.wav"))
    items = read("tar", shard)
    assert ids(items) == ["a"] and "read only once" in faults(items)[0].message


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_links_of_a_shard_that_is_cut_off_are_faults_or_have_their_audio(pack):
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


def test_an_archive_with_too_many_files_is_reported(monkeypatch):
    monkeypatch.setattr("transforms.audio_shards.tar_links._MAX_MEMBERS", 5)
    (*bad, good) = read_again(tar([*PLAIN, *sample(CLIPS[0])]))
    assert {item.message for item in bad} == {
        "the archive has too many files to check whether its JSON is elsewhere; split it"
    }
    assert len(bad) == len(PLAIN) and good.labels == CLIPS[0].labels
