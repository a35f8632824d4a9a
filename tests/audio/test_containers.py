import io

import numpy as np
import pytest
from media import (
    FAST_START,
    FRAGMENTED,
    M4A,
    MKV_FLAC,
    OPUS,
    WMA,
    contained,
    decode,
    error,
    lag,
    rejection_of,
    sweep,
    vorbis,
)

from transforms.audio.decode import open_audio
from transforms.errors import Reason


@pytest.mark.parametrize("container", ["ipod", "mp4", "mov", "matroska"])
@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 2), (48_000, 6), (96_000, 1)]
)
def test_aac_begins_with_its_source_and_ends_within_a_frame_of_it(container, rate_hz, channels):
    source = sweep(rate_hz, channels)
    decoded, decoded_rate_hz = decode(contained(source, rate_hz, container, "aac", "fltp"))
    assert decoded_rate_hz == rate_hz
    assert 0 <= len(decoded) - len(source) < 1_024
    assert lag(decoded, source) == 0
    assert error(decoded, source) < 0.05


@pytest.mark.parametrize("options", [FAST_START, FRAGMENTED], ids=["fast start", "fragmented"])
def test_aac_is_the_same_in_every_layout_of_an_mp4(options):
    source = sweep(44_100, 2)
    plain, _ = decode(contained(source, 44_100, "mp4", "aac", "fltp"))
    decoded, _ = decode(contained(source, 44_100, "mp4", "aac", "fltp", options))
    # These fragments have no edit list, so the encoder's first frame stays.
    shift = 1_024 if options is FRAGMENTED else 0
    np.testing.assert_array_equal(decoded[shift:], plain)


@pytest.mark.parametrize("container", ["webm", "matroska"])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_opus_decodes_in_full_and_in_time(container, channels):
    source = sweep(48_000, channels)
    decoded, rate_hz = decode(contained(source, 48_000, container, "libopus", "flt"))
    assert (rate_hz, decoded.shape) == (48_000, source.shape)
    assert lag(decoded, source) == 0
    assert error(decoded, source) < 0.05


def test_opus_of_16_khz_audio_decodes_at_48_khz():
    source = sweep(16_000, 1)
    decoded, rate_hz = decode(contained(source, 16_000, *OPUS))
    assert (rate_hz, len(decoded)) == (48_000, 3 * len(source))
    assert error(decoded, sweep(48_000, 1)) < 0.05


@pytest.mark.parametrize("container", ["webm", "matroska"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6), (48_000, 8)])
def test_vorbis_decodes_in_full_and_in_time(container, rate_hz, channels):
    source = sweep(rate_hz, channels)
    # libsndfile keeps the channel order of Vorbis, and ffmpeg changes it to that of WAV.
    order = {6: [0, 2, 1, 4, 5, 3], 8: [0, 2, 1, 6, 7, 4, 5, 3]}.get(channels, list(range(channels)))
    decoded, decoded_rate_hz = decode(vorbis(source[:, order], rate_hz, container))
    assert decoded_rate_hz == rate_hz
    assert abs(len(decoded) - len(source)) <= 1_024
    assert lag(decoded, source) == 0
    assert error(decoded, source) < 0.1


@pytest.mark.parametrize(
    ("rate_hz", "channels", "frame"),
    [(8_000, 1, 512), (16_000, 1, 512), (22_050, 2, 1_024), (44_100, 2, 2_048)],
)
def test_wma_of_ffmpegs_own_encoder_begins_one_frame_early(rate_hz, channels, frame):
    source = sweep(rate_hz, channels)
    decoded, decoded_rate_hz = decode(contained(source, rate_hz, *WMA))
    assert decoded_rate_hz == rate_hz
    assert abs(len(decoded) - len(source)) <= 2 * frame
    assert lag(decoded, source) == -frame
    # The encoder fades out in its last frame.
    assert error(decoded[: -2 * frame], source, -frame) < 0.05


def test_bare_aac_keeps_the_encoders_delay():
    source = sweep(44_100, 2)
    decoded, rate_hz = decode(contained(source, 44_100, "adts", "aac", "fltp"))
    assert rate_hz == 44_100
    assert lag(decoded, source) == 1_024
    assert error(decoded, source, 1_024) < 0.05


@pytest.mark.parametrize(
    ("container", "codec", "sample_format", "full_scale"),
    [
        ("matroska", "flac", "s16", 2**15),
        ("matroska", "flac", "s32", 2**23),
        ("matroska", "pcm_s16le", "s16", 2**15),
        ("matroska", "pcm_s24le", "s32", 2**23),
        ("matroska", "pcm_s32le", "s32", 2**23),
        ("matroska", "pcm_u8", "u8", 2**7),
        ("ipod", "alac", "s16p", 2**15),
        ("ipod", "alac", "s32p", 2**23),
        ("mov", "pcm_s16be", "s16", 2**15),
    ],
)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (96_000, 6)])
def test_integer_samples_are_divided_by_their_full_scale_exactly(
    container, codec, sample_format, full_scale, rate_hz, channels
):
    source = np.random.default_rng(0).integers(-full_scale, full_scale, (5_000, channels)) / full_scale
    source[0], source[1], source[2] = -1, 1 - 1 / full_scale, 0
    decoded, decoded_rate_hz = decode(contained(source, rate_hz, container, codec, sample_format))
    assert decoded_rate_hz == rate_hz
    np.testing.assert_array_equal(decoded, source)


def test_aac_of_eight_channels_decodes():
    # PyAV's own `to_ndarray` reads a ninth plane after eight, and crashes the process.
    decoded, rate_hz = decode(bytes.fromhex("fff1f1f1000800080000070000"))
    assert (decoded.shape, rate_hz) == ((1_024, 8), 7_350)


def test_float_samples_are_kept_beyond_full_scale():
    source = np.float32([[-3.5], [-1], [0.1], [1], [1e-20], [7.25], [np.inf], [np.nan]])
    decoded, _ = decode(contained(source, 16_000, "matroska", "pcm_f32le", "flt"))
    np.testing.assert_array_equal(decoded, source)


def test_blocks_of_a_long_file_are_bounded_and_make_the_whole():
    source = np.random.default_rng(0).integers(-(2**15), 2**15, (600_000, 1)) / 2**15
    with open_audio(io.BytesIO(contained(source, 8_000, *MKV_FLAC))) as stream:
        blocks = list(stream.blocks())
    assert len(blocks) == 3
    assert max(map(len, blocks)) < 2**18 + 2**16
    np.testing.assert_array_equal(np.concatenate(blocks), source)


@pytest.mark.parametrize(("container", "codec", "sample_format"), [M4A, MKV_FLAC])
def test_metadata_may_have_another_encoding_than_utf8(container, codec, sample_format):
    data = contained(sweep(48_000, 1, 0.3), 48_000, container, codec, sample_format)
    changed = data.replace(b"Lavf", b"L\xe9\xfff")  # in the name of the program that wrote the file
    assert changed != data
    np.testing.assert_array_equal(decode(changed)[0], decode(data)[0])


def test_length_is_never_taken_from_the_header():
    with open_audio(io.BytesIO(contained(sweep(16_000, 1), 16_000, *M4A))) as stream:
        assert stream.num_frames is None


def test_file_stays_open_for_the_caller():
    file = io.BytesIO(contained(sweep(16_000, 1), 16_000, *M4A))
    with open_audio(file):
        pass
    assert not file.closed


def test_file_is_read_from_its_start():
    data = contained(sweep(16_000, 1), 16_000, *M4A)
    file = io.BytesIO(data)
    file.seek(1_000)
    with open_audio(file) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream.blocks())), decode(data)[0])


@pytest.mark.parametrize(("audio_s", "video_s", "delay_s"), [(2, 2, 0), (2, 6, 0), (4, 1, 0), (2, 6, 3)])
@pytest.mark.parametrize(
    "container, codec, sample_format", [("mp4", "aac", "fltp"), ("webm", "libopus", "flt")]
)
def test_the_audio_of_a_video_is_decoded(container, codec, sample_format, audio_s, video_s, delay_s):
    source = sweep(48_000, 1, audio_s)
    data = contained(source, 48_000, container, codec, sample_format, video_s=video_s, delay_s=delay_s)
    decoded, rate_hz = decode(data)
    assert rate_hz == 48_000
    # Silence until the audio begins, accurate to the millisecond of both containers' timestamps.
    shift = lag(decoded, source)
    assert abs(shift - delay_s * rate_hz) <= rate_hz / 1_000
    assert not decoded[: max(shift - 1_024, 0)].any()
    assert 0 <= len(decoded) - shift - len(source) < 1_024
    assert error(decoded, source, shift) < 0.05
    if not delay_s:
        assert shift == 0


@pytest.mark.parametrize("default", [0, 1])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_the_default_track_is_decoded(container, default):
    tracks = [sweep(16_000, 1), sweep(16_000, 2)[::-1]]
    decoded, _ = decode(contained(tracks, 16_000, container, "aac", "fltp", default=default))
    assert decoded.shape[1] == tracks[default].shape[1]
    assert error(decoded, tracks[default]) < 0.05


def mp4_boxes(data: bytes) -> list[bytes]:
    boxes = []
    while data:
        size = int.from_bytes(data[:4], "big")
        boxes.append(data[:size])
        data = data[size:]
    return boxes


def later(moof: bytes, samples: int) -> bytes:
    """Return a fragment with a later decode time (`tfdt`, ISO/IEC 14496-12, 8.8.12)."""
    at = moof.index(b"tfdt") + 4
    width = 8 if moof[at] else 4
    time = int.from_bytes(moof[at + 4 : at + 4 + width], "big") + samples
    return moof[: at + 4] + time.to_bytes(width, "big") + moof[at + 4 + width :]


def test_fragments_that_begin_late_or_lack_the_first_ones_decode_completely():
    # Segments of a stream: from an hour after its start, or the initialization with a later segment only.
    whole = contained(sweep(16_000, 1, 4), 16_000, "mp4", "aac", "fltp", FRAGMENTED)
    boxes = mp4_boxes(whole)
    assert [box[4:8] for box in boxes[:4]] == [b"ftyp", b"moov", b"moof", b"mdat"]
    expected, _ = decode(whole)
    late = [later(box, 3_600 * 16_000) if box[4:8] == b"moof" else box for box in boxes]
    found, rate_hz = decode(b"".join(late))
    assert rate_hz == 16_000 and len(found) == len(expected)
    np.testing.assert_array_equal(found[2_048:], expected[2_048:])
    num_frames = sum(box[4:8] == b"moof" for box in boxes)
    assert num_frames > 4
    rest, _ = decode(b"".join([*boxes[:2], *boxes[6:]]))
    assert len(expected) // 2 < len(rest) < len(expected)
    # The first frame overlaps with the missing one before it.
    np.testing.assert_allclose(rest[2_048:], expected[len(expected) - len(rest) + 2_048 :], atol=1e-6)
    cut = b"".join([*boxes[:2], *boxes[6:-2]])[:-100]
    assert rejection_of(cut).reason is Reason.CORRUPT
