import io
import struct

import pytest
from surgery import APE, ID3V1, ID3V2

from transforms.audio.parsers.tags import end_without_tags, skip_tags, tag_bytes

EXTENDED = b"TAG+" + bytes(223)
LYRICS = b"LYRICSBEGIN" + b"words" + b"000016LYRICS200"
# ID3v2.4 with a footer: its size excludes header and footer.
WITH_FOOTER = b"ID3\4\0\x10\0\0\0\5" + bytes(5) + b"3DI\4\0\x10\0\0\0\5"
APE_WITHOUT_HEADER = bytes(32) + struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 64, 0, 0)
AUDIO = b"\xff\xfb" + bytes(300)


@pytest.mark.parametrize(
    ("tag", "length"),
    [
        (ID3V1, 128),
        (EXTENDED, 227),
        (ID3V2, len(ID3V2)),
        (WITH_FOOTER, 25),
        (b"ID3\4\0\0\0\0\2\x01", 10 + 257),  # seven bits per byte
        (APE, len(APE)),
        (APE[-32:], 32),  # only a footer
        (APE[:31], 0),
        (b"ID3\4\0\0\0\0\2", 0),
        (b"ID3\xff\0\0\0\0\0\1", 0),
        (b"ID3\4\0\0\0\0\0\x80", 0),
        (b"abc", 0),
        (b"", 0),
    ],
)
def test_the_length_of_a_tag_is_in_its_first_bytes(tag, length):
    assert tag_bytes(tag[:32]) == length


def test_tags_at_the_start_are_skipped_but_not_those_of_id3v1():
    data = ID3V2 + APE + ID3V2 + ID3V1
    assert skip_tags(io.BytesIO(data)) == len(data) - len(ID3V1)
    assert skip_tags(io.BytesIO(AUDIO + ID3V2), len(AUDIO)) == len(AUDIO + ID3V2)
    assert skip_tags(io.BytesIO(AUDIO)) == 0


@pytest.mark.parametrize(
    "tags",
    [
        b"",
        ID3V1,
        APE,
        APE_WITHOUT_HEADER,
        LYRICS + ID3V1,
        WITH_FOOTER,
        EXTENDED + ID3V1,
        APE + LYRICS + ID3V1,
    ],
)
def test_audio_ends_before_the_tags_at_the_end(tags):
    assert end_without_tags(io.BytesIO(AUDIO + tags)) == len(AUDIO)


def test_a_tag_that_is_longer_than_the_file_is_not_a_tag():
    assert end_without_tags(io.BytesIO(APE[-32:])) == 32
    assert end_without_tags(io.BytesIO(ID3V1)) == 0
