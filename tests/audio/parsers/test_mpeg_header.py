import struct

import pytest

from transforms.audio.parsers.mpeg_header import (
    INFO_BYTES,
    VBRI_OFFSET,
    FrameKind,
    InfoFrame,
    frame_lengths,
    info_offset,
    parse_header,
    parse_info,
)

STEREO = bytes([0xFF, 0xFB, 0x90, 0x00])  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz


@pytest.mark.parametrize(
    ("head", "rate_hz", "frame_samples", "length"),
    [
        (STEREO, 44_100, 1_152, 417),
        (b"\xff\xfb\x92\0", 44_100, 1_152, 418),  # with padding
        (b"\xff\xf3\x80\xc0", 22_050, 576, 208),  # MPEG-2 layer III, 64 kbit/s
        (b"\xff\xe3\x40\0", 11_025, 576, 208),  # MPEG-2.5 layer III, 32 kbit/s
        (b"\xff\xfd\xc4\0", 48_000, 1_152, 768),  # layer II, 256 kbit/s
        (b"\xff\xff\xc6\0", 48_000, 384, 388),  # layer I, 384 kbit/s; padding has four bytes
    ],
)
def test_lengths_are_those_of_the_standard(head, rate_hz, frame_samples, length):
    kind = parse_header(head)
    assert (kind.rate_hz, kind.frame_samples) == (rate_hz, frame_samples)
    assert kind.is_mono == (head[3] == 0xC0)
    assert frame_lengths(kind)[head[2]] == length


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xfb\x90",
        b"\xfe\xfb\x90\0",
        b"\xff\xdb\x90\0",
        b"\xff\xeb\x90\0",  # version 1 is reserved
        b"\xff\xf9\x90\0",  # layer 0 is reserved
        b"\xff\xfb\xf0\0",  # bit rate 15
        b"\xff\xfb\x9c\0",  # sample rate 3
        b"\xff\xfb\x90\2",  # emphasis 2
    ],
)
def test_reserved_values_are_not_a_header(head):
    assert parse_header(head) is None


def test_free_format_has_one_length_and_other_rates_have_none():
    kind = parse_header(STEREO)
    free = frame_lengths(kind, 500)
    assert (free[0x00], free[0x02], free[0x90]) == (500, 501, 417)
    assert frame_lengths(kind)[0x00] == 0 == frame_lengths(kind)[0xF0]
    assert frame_lengths(kind)[0x94] == 0  # 48 kHz


def test_a_kind_is_described_by_rate_channels_and_layer():
    assert str(parse_header(STEREO)) == "44100 Hz, 2 channels and layer III"
    assert str(FrameKind(2, 2, 0, True)) == "22050 Hz, 1 channel and layer II"


@pytest.mark.parametrize(
    ("head", "offset"),
    [(STEREO, 36), (b"\xff\xfb\x90\xc0", 21), (b"\xff\xf3\x80\0", 21), (b"\xff\xf3\x80\xc0", 13)],
)
@pytest.mark.parametrize("checksum", [False, True])
def test_an_info_frame_states_frames_bytes_and_the_encoders_delay(head, offset, checksum):
    head = bytes([head[0], head[1] & (0xFE if checksum else 0xFF), *head[2:]])
    kind = parse_header(head)
    assert info_offset(kind) == offset
    begin = offset + 2 * checksum
    fields = struct.pack(">III", 0xF, 1_000, 2_000) + bytes(104) + b"LAME3.100"
    frame = (head.ljust(begin, b"\0") + b"Info" + fields).ljust(INFO_BYTES + 4, b"\0")
    expected = InfoFrame(1_000, 2_000, begin + 8, begin + 16 + 104 + 21, True)
    assert parse_info(frame[:INFO_BYTES], kind) == expected
    assert parse_info(frame[: INFO_BYTES - 1], kind) is None
    plain = frame.replace(b"\0\0\0\x0f", bytes(4)).replace(b"LAME", b"abcd")
    assert parse_info(plain[:INFO_BYTES], kind) == InfoFrame(None, None, None, begin + 8 + 21, False)


def test_a_vbri_frame_states_frames_and_bytes():
    fields = b"VBRI" + bytes(6) + (2_000).to_bytes(4, "big") + (1_000).to_bytes(4, "big")
    frame = STEREO.ljust(VBRI_OFFSET, b"\0") + fields
    assert parse_info(frame, parse_header(STEREO)) == InfoFrame(1_000, 2_000)
    assert parse_info(frame[:-1], parse_header(STEREO)) is None
    assert parse_info(frame, parse_header(b"\xff\xfd\x90\0")) is None  # layer II
