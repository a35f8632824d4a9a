import pytest
from encoded_sounds import SOUNDS
from making import BAD, ids, offsets, read, tar


@pytest.mark.parametrize(
    "extension",
    ["wav", "flac", "oga", "opus", "mp3", "m4a", "webm", "aac", "AIF", "au", "WMA", "mov", "mp2", "left.wav"],
)
def test_audio_is_known_by_its_extension(extension):
    assert ids(read("tar", tar([(f"a.{extension}", b"1")]))) == ["a"]


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
