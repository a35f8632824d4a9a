import dataclasses
import io
import struct
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from media import (
    FAST_START,
    FRAGMENTED,
    OPUS,
    WMA,
    contained,
    decode,
    rejection_of,
    sweep,
    vorbis,
)
from surgery import ID3V1

from transforms.audio.formats import FORMATS
from transforms.audio.structure import first_frame_offset, read_structure, stated_end_s, stated_frames
from transforms.errors import Reason


def test_a_video_truncated_after_the_end_of_its_audio_is_corrupt():
    data = contained(sweep(48_000, 1, 1), 48_000, *OPUS, video_s=8)
    rejection = rejection_of(data[: len(data) * 2 // 3])
    assert rejection.reason is Reason.CORRUPT
    assert "of 8.0" in str(rejection)


@pytest.mark.parametrize(
    ("codec", "sample_format"), [("libopus", "flt"), ("pcm_s16le", "s16"), ("flac", "s16")]
)
def test_the_estimated_duration_of_a_live_file_is_ignored(codec, sample_format):
    # Twenty small clusters per second: ffmpeg's estimate from bit rate and size is over a second too long.
    options = {"live": "1", "cluster_time_limit": "50"}
    source = sweep(48_000, 1, 20)
    data = contained(source, 48_000, "matroska", codec, sample_format, options)
    assert len(decode(data)[0]) == len(source)
    assert 0.4 < len(decode(data[: len(data) // 2])[0]) / len(source) < 0.6


def test_a_duration_that_overflowed_in_ffmpeg_is_ignored():
    # When ffmpeg copies the packets of this Ogg file, the last length, -32, becomes 2**32 - 32.
    data = vorbis(sweep(8_000, 1), 8_000, "webm")
    with av.open(io.BytesIO(data)) as file:
        assert file.duration / 1e6 > 2**32 / 8_000
    assert len(decode(data)[0]) / 8_000 == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(("codec", "kind"), [("mp2", "s16"), ("aac", "fltp"), ("ac3", "fltp")])
def test_a_transport_stream_that_ends_between_two_packets_is_corrupt(codec, kind):
    data = contained(sweep(44_100, 2, 2), 44_100, "mpegts", codec, kind)
    for packets in range(len(data) // 188 * 2 // 3, len(data) // 188 * 2 // 3 + 6):
        if data[188 * packets + 1] & 0x40 == 0:  # the next packet continues the one that is cut
            assert rejection_of(data[: 188 * packets]).reason is Reason.CORRUPT
            return
    pytest.fail("no packet continues another one")


def test_an_flv_whose_recorder_was_killed_is_corrupt():
    data = contained(sweep(44_100, 2, 2), 44_100, "flv", "libmp3lame", "s16p")
    rejection = rejection_of(data[:-60])
    assert rejection.reason is Reason.CORRUPT
    assert "the last tag is cut off" in str(rejection)


def test_wavpack_that_ends_between_two_blocks_is_corrupt():
    data = contained(sweep(44_100, 2, 2), 44_100, "wv", "wavpack", "s16p")
    last = data.rindex(b"wvpk")
    rejection = rejection_of(data[:last])
    assert "ends at frame" in str(rejection)
    assert rejection.reason is Reason.CORRUPT
    np.testing.assert_array_equal(decode(data + ID3V1)[0], decode(data)[0])


def test_wma_that_ends_before_its_play_duration_is_corrupt_unless_it_is_a_broadcast():
    """Whoever sends a broadcast does not know its length (ASF specification, 3.2)."""
    data = bytearray(contained(sweep(16_000, 1, 0.2), 16_000, *WMA))
    whole, _ = decode(bytes(data))
    place = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")) + 64
    _, send_100ns, preroll_ms, flags = struct.unpack_from("<QQQI", data, place)
    assert flags == 2  # seekable
    stated_100ns = 9_000_000 + preroll_ms * 10_000
    struct.pack_into("<QQQI", data, place, stated_100ns, send_100ns, preroll_ms, flags)
    assert "of 0.90 s" in str(rejection_of(bytes(data)))
    struct.pack_into("<QQQI", data, place, stated_100ns, send_100ns, preroll_ms, flags | 1)
    np.testing.assert_array_equal(decode(bytes(data))[0], whole)


def test_the_audio_of_an_mp4_that_ends_before_the_length_of_its_track_is_corrupt():
    """The video continues to its end, and no box is cut off."""
    data = bytearray(contained(sweep(16_000, 1, 3), 16_000, "mp4", "aac", "fltp", FAST_START, video_s=4))
    place = data.rindex(b"stsz") + 12  # the number of packets
    (packets,) = struct.unpack_from(">I", data, place)
    struct.pack_into(">I", data, place, packets // 2)
    assert str(rejection_of(bytes(data))) == "ends at 1.54 of 3.06 s"


def test_the_audio_of_fragments_that_ends_before_the_length_of_its_track_is_corrupt():
    """The video continues to its end, and no box is cut off."""
    data = bytearray(contained(sweep(16_000, 1, 3), 16_000, "mp4", "aac", "fltp", FRAGMENTED, video_s=3))
    struct.pack_into(">I", data, data.rindex(b"mdhd") + 20, 3 * 16_000)
    whole, _ = decode(bytes(data))
    place = len(data)
    for _ in range(5):  # the last table in each fragment is that of the audio
        place = data.rindex(b"traf", 0, place)
        data[place : place + 4] = b"free"
        place = data.rindex(b"moof", 0, place)
    rejection = rejection_of(bytes(data))
    assert len(whole) > 3 * 16_000
    assert (rejection.reason, str(rejection)) == (Reason.CORRUPT, "ends at 1.28 of 3.00 s")


LENGTH = Fraction(5)


@pytest.mark.parametrize(
    ("demuxer", "length_s", "other_s", "container_s", "head", "is_fragmented", "end_s"),
    [
        ("mov", LENGTH, None, 9, b"", False, 7),
        ("mov", LENGTH, None, 9, b"", True, 5),
        ("mov", None, None, 9, b"", False, None),
        ("mov", Fraction((1 << 32) - (1 << 16) - 1, 1_000), None, 9, b"", True, 4_294_901.759),
        ("mov", Fraction((1 << 32) - (1 << 16), 1_000), None, 9, b"", True, None),  # it overflowed in ffmpeg
        ("matroska", None, None, 9, b"", False, 9),
        ("matroska", None, LENGTH, 9, b"", False, 9),
        ("matroska", LENGTH, None, 9, b"", False, 9),
        ("matroska", LENGTH, LENGTH, 9, b"", False, None),  # estimated from the size
        ("matroska", None, None, None, b"", False, None),
        ("matroska", None, None, 1, b"", False, 3),  # ends before its start at 2 s: it is the length
        ("matroska", None, None, 2, b"", False, 2),
        ("flv", None, None, 9, b"duration\0", False, 9),
        ("flv", None, None, 9, b"durations", False, None),
        ("flv", None, None, None, b"duration\0", False, None),
        ("ogg", LENGTH, None, 9, b"", False, 7),
        ("ogg", None, None, 9, b"", False, None),
        ("adts", LENGTH, LENGTH, 9, b"", False, None),
    ],
)
def test_a_stated_end_is_in_the_containers_own_time(
    demuxer, length_s, other_s, container_s, head, is_fragmented, end_s
):
    rate_hz = 1_000
    unit = Fraction(1, rate_hz)
    stream, other = (
        SimpleNamespace(
            start_time=2 * rate_hz,
            time_base=unit,
            duration=None if seconds is None else seconds * rate_hz,
            frames=0,
            codec_context=SimpleNamespace(sample_rate=rate_hz),
        )
        for seconds in (length_s, other_s)
    )
    container = SimpleNamespace(
        streams=[stream, other], duration=None if container_s is None else container_s * 1_000_000
    )
    fmt = dataclasses.replace(FORMATS[0], demuxer=demuxer)
    assert stated_end_s(fmt, container, stream, head, is_fragmented) == end_s


def box(kind: bytes, size: int) -> bytes:
    return struct.pack(">I4s", size, kind) + bytes(size - 8)


def structure_of(demuxer: str, data: bytes):
    (form,) = [form for form in FORMATS if form.demuxer == demuxer]
    return read_structure(form, io.BytesIO(data), len(data), 0x101)


def test_an_mp4_is_cut_off_in_a_box_of_data_and_not_in_another_one():
    whole = box(b"ftyp", 24) + box(b"moov", 50) + box(b"mdat", 100)
    assert structure_of("mov", whole) == (False, "")
    assert "the mdat box ends at byte 174 of 173" in structure_of("mov", whole[:-1]).cut_off
    assert structure_of("mov", whole + box(b"free", 40)[:20]) == (False, "")
    assert structure_of("mov", whole + box(b"moof", 16)) == (True, "")
    large = struct.pack(">I4sQ", 1, b"mdat", 40) + bytes(24)
    assert structure_of("mov", large + box(b"moof", 16)).is_fragmented
    assert structure_of("mov", large[:-1]).cut_off
    assert structure_of("mov", struct.pack(">I4s", 0, b"mdat") + bytes(9)) == (False, "")


def test_an_avi_is_cut_off_where_its_list_of_packets_is():
    head = b"RIFF" + struct.pack("<I", 100) + b"AVI " + b"JUNK" + struct.pack("<I", 3) + bytes(4)
    packets = b"LIST" + struct.pack("<I", 24) + b"movi" + bytes(20)
    assert structure_of("avi", head + packets).cut_off == ""
    assert "ends at byte 56 of 55" in structure_of("avi", (head + packets)[:-1]).cut_off
    assert structure_of("avi", head + packets[:4] + b"\xff" * 4 + packets[8:]).cut_off == ""
    assert structure_of("avi", head + packets[:4] + bytes(4) + packets[8:]).cut_off == ""
    assert structure_of("avi", head + packets + packets[:-1]).cut_off


def test_an_flv_ends_with_a_tag_whose_two_lengths_agree():
    tag = b"\x08" + (5).to_bytes(3, "big") + bytes(7) + bytes(5)
    head = b"FLV\1" + bytes(9)
    assert structure_of("flv", head + tag + struct.pack(">I", 16)).cut_off == ""
    for last in (struct.pack(">I", 15), struct.pack(">I", 17), struct.pack(">I", 16)[:3]):
        assert structure_of("flv", head + tag + last).cut_off == "the last tag is cut off"


def packet(pid: int, start: bool, payload: bytes) -> bytes:
    """Return a transport packet, filled up with an adaptation field."""
    field = 183 - len(payload)
    head = bytes([0x47, 0x40 * start | pid >> 8, pid & 0xFF, 0x30, field])
    return head + bytes(field) + payload


def test_a_transport_stream_ends_with_a_whole_packet_of_the_stated_length():
    begin = packet(0x101, True, b"\0\0\1\xc0" + struct.pack(">H", 200) + bytes(94))
    rest = packet(0x101, False, bytes(106))
    other = packet(0x100, False, bytes(150))
    assert structure_of("mpegts", begin + other + rest + other * 3).cut_off == ""
    assert "has 100 of 206 bytes" in structure_of("mpegts", begin + other * 5).cut_off
    without_payload = bytes([0x47, 1, 1, 0]) + bytes(184)
    assert "has 100 of 206 bytes" in structure_of("mpegts", begin + without_payload * 5).cut_off
    unstated = begin.replace(struct.pack(">H", 200) + bytes(94), bytes(96))
    assert structure_of("mpegts", unstated + other * 5).cut_off == ""
    assert "the last packet has 100 of 188 bytes" in structure_of("mpegts", (begin + rest * 5)[:-88]).cut_off


def test_lossless_headers_state_their_number_of_samples():
    forms = {form.demuxer: form for form in FORMATS if form.demuxer}
    flac = b"fLaC" + bytes(17) + ((5 << 36) | 123_456).to_bytes(5, "big")
    assert stated_frames(forms["flac"], flac) == 123_456 and stated_frames(forms["flac"], flac[:25]) is None
    assert stated_frames(forms["flac"], flac[:21] + bytes(5)) is None
    wavpack = b"wvpk" + bytes(6) + b"\0\1" + struct.pack("<II", 99, 0)
    assert stated_frames(forms["wv"], wavpack) == (1 << 32 | 99) - 1
    assert stated_frames(forms["wv"], wavpack[:12] + b"\xff" * 4 + bytes(4)) is None
    assert stated_frames(forms["wv"], wavpack[:16] + b"\1\0\0\0") is None  # not the first block
    assert stated_frames(forms["mov"], flac) is None


def test_frames_of_amr_begin_after_the_first_line():
    forms = {form.demuxer: form for form in FORMATS if form.demuxer}
    assert first_frame_offset(forms["amr"], b"#!AMR-WB\nabc") == 9
    assert first_frame_offset(forms["aac"], b"\xff\xf1\n") == 0
