import pytest
from encoded_sounds import SOUNDS
from making import BAD, ids, offsets, read, tar

from transforms.audio_shards.signatures import HEAD_BYTES, has_signature, is_audio_extension, looks_like_audio


@pytest.mark.parametrize(
    "extension",
    ["wav", "flac", "oga", "opus", "mp3", "m4a", "webm", "aac", "AIF", "au", "WMA", "mov", "mp2", "left.wav"],
)
def test_audio_is_recognized_by_its_extension(extension):
    assert ids(read("tar", tar([(f"a.{extension}", b"1")]))) == ["a"]


@pytest.mark.parametrize("form", SOUNDS)
@pytest.mark.parametrize("name", ["a.wav.data", "a.bin", "a"])
def test_audio_with_an_unknown_extension_is_recognized_by_its_content(form, name):
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
def test_other_files_are_not_recognized_as_audio(data):
    bad, good = read("tar", tar([("a.bin", data), ("b.wav", b"1")]))
    assert (bad.reason, bad.video_id, good.video_id) == (BAD, "a", "b") and "'a.bin'" in bad.message


@pytest.mark.parametrize("form", SOUNDS)
def test_the_first_bytes_of_audio_are_recognized(form):
    head = SOUNDS[form][:HEAD_BYTES]
    assert looks_like_audio(head)
    assert has_signature(head) == (form not in ("mp3", "mp2", "adts"))
    if not has_signature(head):  # two frames are needed
        assert not looks_like_audio(head[:40]) and not looks_like_audio(b"\0" + head)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"ID3", True),
        (b"\0\0\0\x18ftypM4A ", True),
        (b"\0\0\0\x18ftypheic", False),
        (b"RIFF\0\0\0\0WAVE", True),
        (b"RIFF\0\0\0\0WEBP", False),
        (b"FORM\0\0\0\0AIFF", True),
        (b"", False),
    ],
)
def test_containers_are_recognized_and_images_are_not(head, expected):
    assert has_signature(head) is expected


@pytest.mark.parametrize(
    ("extension", "expected"), [("wav", True), ("left.wav", True), ("wav.txt", False), ("", False)]
)
def test_the_last_part_of_an_extension_decides(extension, expected):
    assert is_audio_extension(extension) is expected


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfb\x00\0",  # free format
        b"\xff\xfb\xf0\0",  # bit rate 15
        b"\xff\xfb\x9c\0",  # sample rate 3
        b"\xff\xeb\x90\0",  # version 1
        b"\xff\xff\x90\0",  # layer I
        b"\xff\xf1\x74\0",  # AAC with sample rate 13
    ],
)
def test_frames_with_reserved_values_are_not_audio(header):
    assert not looks_like_audio((header + bytes(413)) * 3)
    assert looks_like_audio((b"\xff\xfb\x90\0" + bytes(413)) * 3)
