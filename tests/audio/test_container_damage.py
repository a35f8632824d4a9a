import contextlib
import io
import re

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import (
    FAST_START,
    FRAGMENTED,
    M4A,
    MKV_FLAC,
    OPUS,
    WMA,
    contained,
    decode,
    frames_of,
    rejection_of,
    sweep,
    vorbis,
)

from transforms.audio.decode import open_audio
from transforms.errors import ClipError, Reason


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_video_without_audio_is_not_audio(container):
    rejection = rejection_of(contained([], 16_000, container, "aac", "fltp", video_s=2))
    assert rejection.reason is Reason.NOT_AUDIO
    assert "no audio stream" in str(rejection)


@pytest.mark.parametrize(("container", "codec", "sample_format"), [M4A, OPUS, WMA])
def test_a_header_followed_by_garbage_is_not_audio(container, codec, sample_format):
    data = contained(sweep(48_000, 1), 48_000, container, codec, sample_format)
    garbage = np.random.default_rng(0).bytes(20_000)
    rejection = rejection_of(data[:64] + garbage)
    assert rejection.reason is Reason.NOT_AUDIO
    assert re.search(r"\(ffmpeg: the container cannot be opened: [A-Z]", str(rejection))


def test_an_m4a_whose_index_is_cut_off_is_not_audio():
    data = contained(sweep(16_000, 1), 16_000, *M4A)
    assert rejection_of(data[: len(data) * 9 // 10]).reason is Reason.NOT_AUDIO


TRUNCATABLE = [
    (*M4A, FAST_START),
    ("mp4", "aac", "fltp", FRAGMENTED),
    ("ipod", "alac", "s16p", FAST_START),
    (*OPUS, None),
    (*MKV_FLAC, None),
    ("matroska", "pcm_s16le", "s16", None),
    (*WMA, None),
    ("adts", "aac", "fltp", None),
]


@pytest.mark.parametrize("kept", [0.3, 0.7])
@pytest.mark.parametrize(("container", "codec", "sample_format", "options"), TRUNCATABLE)
def test_a_truncated_file_is_corrupt_with_the_time_of_the_cut(container, codec, sample_format, options, kept):
    data = contained(sweep(48_000, 1, 3), 48_000, container, codec, sample_format, options)
    rejection = rejection_of(data[: round(len(data) * kept)])
    assert rejection.reason is Reason.CORRUPT
    place_s = float(str(rejection).split("ends at ")[-1].split("after ")[-1].split()[0])
    assert place_s == pytest.approx(3 * kept, abs=0.5)


def test_wma_that_ends_between_two_packets_is_corrupt():
    data = contained(sweep(44_100, 2, 3), 44_100, *WMA)
    # The data object's packets have 3200 bytes each and begin 50 bytes after its GUID.
    first = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50
    rejection = rejection_of(data[: first + 3_200 * 6])
    assert rejection.reason is Reason.CORRUPT


@pytest.mark.parametrize(
    ("container", "codec", "sample_format", "options"),
    [c for c in TRUNCATABLE if c[1] in ("aac", "alac", "flac")],
)
def test_a_hole_is_corrupt(container, codec, sample_format, options):
    data = bytearray(contained(sweep(48_000, 1, 3), 48_000, container, codec, sample_format, options))
    middle = len(data) // 2
    data[middle : middle + 500] = bytes(500)
    rejection = rejection_of(bytes(data))
    assert rejection.reason is Reason.CORRUPT
    assert 1 < float(str(rejection).split("after ")[-1].split()[0]) < 2


def test_one_wrong_bit_of_flac_in_a_container_is_corrupt():
    """By default ffmpeg decodes a frame with a wrong checksum without an error."""
    data = contained(sweep(8_000, 1, 1), 8_000, *MKV_FLAC)
    with av.open(io.BytesIO(data)) as container:
        frames = [bytes(packet) for packet in container.demux() if packet.size]
    assert len(frames) > 1
    for begin, frame in ((data.index(frame), frame) for frame in frames):
        for place in range(0, len(frame), len(frame) // 8):
            flipped = bytearray(data)
            flipped[begin + place] ^= 0x10
            assert rejection_of(bytes(flipped)).reason is Reason.CORRUPT


def test_more_than_a_thousand_packets_without_a_sample_are_corrupt():
    first, *rest = frames_of(contained(sweep(16_000, 1, 0.3), 16_000, "adts", "aac", "fltp"))
    # A frame of 8 bytes: the header with this length, and the mark of its end.
    empty = first[:3] + bytes([first[3] & 0xFC, 1, first[5] & 0x1F]) + first[6:7] + b"\xe0"
    expected, _ = decode(b"".join([first, *rest]))
    np.testing.assert_array_equal(decode(b"".join([first, *[empty] * 1_000, *rest]))[0], expected)
    apart = b"".join([first, *[empty] * 600, rest[0], *[empty] * 600, *rest[1:]])
    np.testing.assert_array_equal(decode(apart)[0], expected)
    rejection = rejection_of(b"".join([first, *[empty] * 1_001, *rest]))
    assert rejection.reason is Reason.CORRUPT
    assert str(rejection) == "1001 packets without a sample, after 0.06 s"


@pytest.mark.parametrize(
    ("rate_hz", "channels", "change"),
    [(16_000, 2, "16000 Hz and 2 channels"), (44_100, 1, "44100 Hz and 1 channel,")],
)
def test_a_stream_that_changes_its_rate_or_channels_is_corrupt(rate_hz, channels, change):
    first = contained(sweep(16_000, 1), 16_000, "adts", "aac", "fltp")
    second = contained(sweep(rate_hz, channels), rate_hz, "adts", "aac", "fltp")
    rejection = rejection_of(first + second)
    assert rejection.reason is Reason.CORRUPT
    assert f"changes to {change}" in str(rejection)


def test_a_container_without_samples_has_no_blocks():
    data = contained(sweep(44_100, 2), 44_100, "matroska", "pcm_s16le", "s16", {"live": "1"})
    cluster = data.index(b"\x1f\x43\xb6\x75")
    decoded, rate_hz = decode(data[: cluster + 20])
    assert (decoded.shape, rate_hz) == ((0, 2), 44_100)


def test_a_container_that_is_cut_off_before_its_first_sample_is_corrupt():
    data = contained(sweep(44_100, 2, 1.4), 44_100, "matroska", "pcm_s16le", "s16")
    cluster = data.index(b"\x1f\x43\xb6\x75")
    rejection = rejection_of(data[: cluster + 20])
    assert (rejection.reason, str(rejection)) == (Reason.CORRUPT, "ends at 0.00 of 1.40 s")


class Unplugged(io.BytesIO):
    """A file on a disk that fails."""

    def readinto(self, buffer):
        if self.tell() > 30_000:
            raise OSError("the disk is gone")
        return super().readinto(buffer)


@pytest.mark.parametrize(("container", "codec", "sample_format"), [MKV_FLAC, M4A])
def test_an_error_of_the_file_system_is_raised_unchanged(container, codec, sample_format, capfd):
    file = Unplugged(contained(sweep(96_000, 2), 96_000, container, codec, sample_format, FAST_START))
    with pytest.raises(OSError, match="the disk is gone"), open_audio(file) as stream:
        list(stream.blocks())
    assert capfd.readouterr().err == ""


DAMAGEABLE = {
    "M4A": contained(sweep(16_000, 1, 0.5), 16_000, *M4A, FAST_START),
    "fragments": contained(sweep(16_000, 1, 0.5), 16_000, "mp4", "aac", "fltp", FRAGMENTED),
    "ALAC": contained(sweep(8_000, 2, 0.5), 8_000, "ipod", "alac", "s16p", FAST_START),
    "Opus": contained(sweep(48_000, 1, 0.5), 48_000, *OPUS),
    "Vorbis": vorbis(sweep(16_000, 1, 0.5), 16_000, "webm"),
    "FLAC": contained(sweep(8_000, 2, 0.5), 8_000, *MKV_FLAC),
    "WMA": contained(sweep(16_000, 1, 0.5), 16_000, *WMA),
    "ADTS": contained(sweep(16_000, 1, 0.5), 16_000, "adts", "aac", "fltp"),
}


@pytest.mark.parametrize("name", DAMAGEABLE)
def test_the_files_of_the_damage_test_are_intact(name):
    decoded, rate_hz = decode(DAMAGEABLE[name])
    assert len(decoded) / rate_hz == pytest.approx(0.5, abs=0.15)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", DAMAGEABLE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_decodes_or_is_rejected(name, data):
    file = bytearray(DAMAGEABLE[name])
    places = st.integers(0, len(file) - 1) | st.integers(0, 800)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        file[place] = value
    damaged = bytes(file[: data.draw(places) + 1]) if data.draw(st.booleans()) else bytes(file)
    try:
        samples, rate_hz = decode(damaged)
    except ClipError as error:
        assert error.reason in (Reason.NOT_AUDIO, Reason.CORRUPT)
    else:
        assert rate_hz > 0
        assert np.isfinite(samples).all()


@pytest.mark.parametrize("place", [0.1, 0.5])
def test_ffmpeg_prints_nothing_to_stderr(place, capfd):
    for file in DAMAGEABLE.values():
        damaged = bytearray(file)
        begin = round(len(damaged) * place)
        damaged[begin : begin + 400] = bytes(400)
        with contextlib.suppress(ClipError):
            decode(bytes(damaged))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
