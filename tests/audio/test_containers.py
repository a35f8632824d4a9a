import contextlib
import io
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.audio.containers import HEAD_BYTES, ContainerStream, is_container
from transforms.errors import ClipError, Reason

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
FAST_START = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}


def sweep(rate_hz: int, channels: int, seconds: float = 1.5) -> np.ndarray:
    """float64[samples, channels]: a rising tone of its own in each channel, which aligns in one way only."""
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    starts_hz = 200 + 70 * np.arange(channels)
    phase = 2 * np.pi * (starts_hz * time_s[:, None] + 300 * time_s[:, None] ** 2)
    if channels >= 6:
        phase[:, 3] = 2 * np.pi * 60 * time_s  # low-frequency effects: codecs keep nothing above
    return 0.3 * np.sin(phase)


def as_format(samples: np.ndarray, sample_format: str) -> np.ndarray:
    """Samples in [-1, 1) as ffmpeg holds them; 24 bits stand in the upper part of 32."""
    if sample_format.startswith("s16"):
        return np.round(samples * 2**15).astype(np.int16)
    if sample_format.startswith("s32"):
        return np.round(samples * 2**23).astype(np.int32) << 8
    if sample_format == "u8":
        return np.round(samples * 2**7 + 2**7).astype(np.uint8)
    return samples.astype(np.float32)


def contained(
    tracks: "np.ndarray | list[np.ndarray]",
    rate_hz: int,
    container: str,
    codec: str,
    sample_format: str,
    options: dict[str, str] | None = None,
    video_s: float = 0.0,
    delay_s: float = 0.0,
    default: int = 0,
) -> bytes:
    """A file with audio tracks, float64[samples, channels] each, and black video if its length is given."""
    if isinstance(tracks, np.ndarray):
        tracks = [tracks]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with av.open(str(path), "w", format=container, options=options or {}) as output:
            video = (
                output.add_stream("mpeg4" if container != "webm" else "libvpx", rate=10) if video_s else None
            )
            streams = []
            for index, track in enumerate(tracks):
                stream = output.add_stream(codec, rate=rate_hz, layout=LAYOUTS[track.shape[1]])
                stream.codec_context.format = sample_format
                if sample_format.startswith("flt"):
                    stream.bit_rate = (64_000 if codec == "wmav2" else 128_000) * track.shape[1]
                stream.codec_context.open()
                flag = type(stream.disposition).default
                stream.disposition = flag if index == default else type(stream.disposition)(0)
                streams.append(stream)
            if video is not None:
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
                for index in range(round(video_s * 10)):
                    picture = av.VideoFrame(64, 48, "yuv420p")
                    for plane in picture.planes:
                        plane.update(bytes(plane.buffer_size))
                    picture.pts, picture.time_base = index, Fraction(1, 10)
                    output.mux(video.encode(picture))
                output.mux(video.encode(None))
            output.start_encoding()
            for stream, track in zip(streams, tracks, strict=True):
                values = as_format(track, sample_format)
                step = stream.codec_context.frame_size or 1024
                for begin in range(0, len(values), step):
                    part = values[begin : begin + step]
                    part = part.T if sample_format.endswith("p") else part.reshape(1, -1)
                    layout = LAYOUTS[track.shape[1]]
                    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), sample_format, layout)
                    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
                    frame.pts = begin + round(delay_s * rate_hz)
                    output.mux(stream.encode(frame))
                output.mux(stream.encode(None))
        return path.read_bytes()


def rewrapped(data: bytes, container: str) -> bytes:
    """The packets of a file in another container: PyAV has no libvorbis, soundfile has."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def vorbis(samples: np.ndarray, rate_hz: int, container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="OGG", subtype="VORBIS")
    return rewrapped(file.getvalue(), container)


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """float64[samples, channels], and the rate."""
    with ContainerStream(io.BytesIO(data)) as stream:
        blocks = list(stream.blocks())
        assert all(block.dtype == np.float64 and block.shape[1] == stream.channels for block in blocks)
        return np.concatenate([np.empty((0, stream.channels)), *blocks]), stream.rate_hz


def rejection_of(data: bytes) -> ClipError:
    with pytest.raises(ClipError) as caught:
        decode(data)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def lag(decoded: np.ndarray, source: np.ndarray) -> int:
    """By how many samples `decoded` comes later than `source`, where the two correlate best."""
    size = 2 * max(len(decoded), len(source))
    spectrum = np.fft.rfft(decoded[:, 0], size) * np.fft.rfft(source[:, 0], size).conj()
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < size // 2 else best - size


def error(decoded: np.ndarray, source: np.ndarray, shift: int = 0) -> float:
    """RMS of the difference over RMS of the source, after `decoded` is moved by -`shift` samples."""
    decoded, source = decoded[max(shift, 0) :], source[max(-shift, 0) :]
    length = min(len(decoded), len(source))
    difference = decoded[:length] - source[:length]
    return float(np.sqrt(np.mean(difference**2) / np.mean(source[:length] ** 2)))


M4A = ("ipod", "aac", "fltp")
OPUS = ("webm", "libopus", "flt")
MKV_FLAC = ("matroska", "flac", "s16")
WMA = ("asf", "wmav2", "fltp")


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
def test_aac_is_the_same_in_every_order_of_an_mp4(options):
    source = sweep(44_100, 2)
    plain, _ = decode(contained(source, 44_100, "mp4", "aac", "fltp"))
    decoded, _ = decode(contained(source, 44_100, "mp4", "aac", "fltp", options))
    # Fragments have no edit list here, and so the encoder's first frame stays.
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
    # libsndfile leaves channels in Vorbis' own order, and ffmpeg gives them in that of WAV.
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
    # PyAV's own `to_ndarray` reads a ninth plane behind eight, and ends the process.
    decoded, rate_hz = decode(bytes.fromhex("fff1f1f1000800080000070000"))
    assert (decoded.shape, rate_hz) == ((1_024, 8), 7_350)


def test_float_samples_are_kept_beyond_full_scale():
    source = np.float32([[-3.5], [-1], [0.1], [1], [1e-20], [7.25], [np.inf], [np.nan]])
    decoded, _ = decode(contained(source, 16_000, "matroska", "pcm_f32le", "flt"))
    np.testing.assert_array_equal(decoded, source)


def test_blocks_of_a_long_file_are_bounded_and_make_the_whole():
    source = np.random.default_rng(0).integers(-(2**15), 2**15, (600_000, 1)) / 2**15
    with ContainerStream(io.BytesIO(contained(source, 8_000, *MKV_FLAC))) as stream:
        blocks = list(stream.blocks())
    assert len(blocks) == 3
    assert max(map(len, blocks)) < 2**18 + 2**16
    np.testing.assert_array_equal(np.concatenate(blocks), source)


def test_length_is_never_taken_from_the_header():
    with ContainerStream(io.BytesIO(contained(sweep(16_000, 1), 16_000, *M4A))) as stream:
        assert stream.num_frames is None


def test_file_stays_open_for_the_caller():
    file = io.BytesIO(contained(sweep(16_000, 1), 16_000, *M4A))
    ContainerStream(file).close()
    assert not file.closed


def test_file_is_read_from_its_start():
    data = contained(sweep(16_000, 1), 16_000, *M4A)
    file = io.BytesIO(data)
    file.seek(1_000)
    with ContainerStream(file) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream.blocks())), decode(data)[0])


@pytest.mark.parametrize(("audio_s", "video_s", "delay_s"), [(2, 2, 0), (2, 6, 0), (4, 1, 0), (2, 6, 3)])
@pytest.mark.parametrize(
    "container, codec, sample_format", [("mp4", "aac", "fltp"), ("webm", "libopus", "flt")]
)
def test_audio_of_a_video_decodes_alone(container, codec, sample_format, audio_s, video_s, delay_s):
    source = sweep(48_000, 1, audio_s)
    data = contained(source, 48_000, container, codec, sample_format, video_s=video_s, delay_s=delay_s)
    decoded, rate_hz = decode(data)
    assert rate_hz == 48_000
    # An edit list with a delay in it cuts no encoder delay.
    shift = 1_024 if delay_s and codec == "aac" else 0
    assert lag(decoded, source) == shift
    assert 0 <= len(decoded) - shift - len(source) < 1_024
    assert error(decoded, source, shift) < 0.05


@pytest.mark.parametrize("default", [0, 1])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_default_track_is_the_one_that_decodes(container, default):
    tracks = [sweep(16_000, 1), sweep(16_000, 2)[::-1]]
    decoded, _ = decode(contained(tracks, 16_000, container, "aac", "fltp", default=default))
    assert decoded.shape[1] == tracks[default].shape[1]
    assert error(decoded, tracks[default]) < 0.05


@pytest.mark.parametrize(
    ("container", "codec", "sample_format"),
    [M4A, ("mov", "aac", "fltp"), OPUS, MKV_FLAC, WMA, ("adts", "aac", "fltp")],
)
def test_containers_are_known_by_their_first_bytes(container, codec, sample_format):
    data = contained(sweep(48_000, 1), 48_000, container, codec, sample_format)
    assert is_container(data[:HEAD_BYTES])
    assert is_container(data[:64])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None)],
)
def test_what_libsndfile_reads_is_no_container(container, subtype, channels):
    file = io.BytesIO()
    soundfile.write(file, sweep(48_000, channels), 48_000, format=container, subtype=subtype)
    assert not is_container(file.getvalue()[:HEAD_BYTES])
    assert not is_container(file.getvalue()[:64])


@pytest.mark.parametrize("second", range(256))
def test_an_mp3_frame_is_never_taken_for_aac(second):
    layer = second >> 1 & 0b11
    head = bytes([0xFF, second, 0x90, 0x64]) + bytes(1_000)
    assert not (layer and is_container(head))


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"ID,start\nabc,30\n", bytes(1_000), b"\xff" * 9_000, b"\xff\xfeh\0e\0l\0l\0o\0"]
)
def test_what_is_no_container_is_not_audio(data):
    assert not is_container(data)
    assert rejection_of(data).reason is Reason.NOT_AUDIO


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_video_without_audio_is_not_audio(container):
    rejection = rejection_of(contained([], 16_000, container, "aac", "fltp", video_s=2))
    assert rejection.reason is Reason.NOT_AUDIO
    assert "no audio stream" in str(rejection)


@pytest.mark.parametrize(("container", "codec", "sample_format"), [M4A, OPUS, WMA])
def test_a_header_with_garbage_behind_is_not_audio(container, codec, sample_format):
    data = contained(sweep(48_000, 1), 48_000, container, codec, sample_format)
    garbage = np.random.default_rng(0).bytes(20_000)
    assert rejection_of(data[:64] + garbage).reason is Reason.NOT_AUDIO


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
def test_a_truncated_file_is_corrupt_and_says_where(container, codec, sample_format, options, kept):
    data = contained(sweep(48_000, 1, 3), 48_000, container, codec, sample_format, options)
    rejection = rejection_of(data[: round(len(data) * kept)])
    assert rejection.reason is Reason.CORRUPT
    place_s = float(str(rejection).split("ends at ")[-1].split("after ")[-1].split()[0])
    assert place_s == pytest.approx(3 * kept, abs=0.5)


def test_a_video_cut_off_where_only_video_was_left_is_corrupt():
    data = contained(sweep(48_000, 1, 1), 48_000, *OPUS, video_s=8)
    rejection = rejection_of(data[: len(data) * 2 // 3])
    assert rejection.reason is Reason.CORRUPT
    assert "of 8.0" in str(rejection)


def test_wma_that_ends_between_two_packets_is_corrupt():
    data = contained(sweep(44_100, 2, 3), 44_100, *WMA)
    # The data object's packets have 3200 bytes each and begin 50 bytes after its GUID.
    first = data.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 50
    rejection = rejection_of(data[: first + 3_200 * 6])
    assert rejection.reason is Reason.CORRUPT


@pytest.mark.parametrize(
    ("codec", "sample_format"), [("libopus", "flt"), ("pcm_s16le", "s16"), ("flac", "s16")]
)
def test_a_live_file_has_no_duration_to_fall_short_of(codec, sample_format):
    # Twenty small clusters a second: from bit rate and size ffmpeg would guess more than a second too much.
    options = {"live": "1", "cluster_time_limit": "50"}
    source = sweep(48_000, 1, 20)
    data = contained(source, 48_000, "matroska", codec, sample_format, options)
    assert len(decode(data)[0]) == len(source)
    assert 0.4 < len(decode(data[: len(data) // 2])[0]) / len(source) < 0.6


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


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 2), (44_100, 1)])
def test_a_stream_that_changes_its_form_is_corrupt(rate_hz, channels):
    first = contained(sweep(16_000, 1), 16_000, "adts", "aac", "fltp")
    second = contained(sweep(rate_hz, channels), rate_hz, "adts", "aac", "fltp")
    rejection = rejection_of(first + second)
    assert rejection.reason is Reason.CORRUPT
    assert f"changes to {rate_hz} Hz and {channels} channels" in str(rejection)


def test_a_container_without_samples_has_no_blocks():
    data = contained(sweep(44_100, 2), 44_100, "matroska", "pcm_s16le", "s16", {"live": "1"})
    cluster = data.index(b"\x1f\x43\xb6\x75")
    decoded, rate_hz = decode(data[: cluster + 20])
    assert (decoded.shape, rate_hz) == ((0, 2), 44_100)


def test_a_duration_that_ffmpeg_let_overflow_is_no_promise():
    # Copying this Ogg file's packets, ffmpeg takes the last one's length, -32, for 2**32 - 32.
    data = vorbis(sweep(8_000, 1), 8_000, "webm")
    with av.open(io.BytesIO(data)) as file:
        assert file.duration / 1e6 > 2**32 / 8_000
    assert len(decode(data)[0]) / 8_000 == pytest.approx(1.5, abs=0.1)


class Unplugged(io.BytesIO):
    """A file whose disk goes away."""

    def read(self, size=-1):
        if self.tell() > 30_000:
            raise OSError("the disk is gone")
        return super().read(size)


@pytest.mark.parametrize(("container", "codec", "sample_format"), [MKV_FLAC, M4A])
def test_a_file_system_error_is_not_the_clips_fault(container, codec, sample_format, capfd):
    file = Unplugged(contained(sweep(96_000, 2), 96_000, container, codec, sample_format, FAST_START))
    with pytest.raises(OSError, match="the disk is gone"), ContainerStream(file) as stream:
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
def test_files_that_are_damaged_below_are_whole(name):
    decoded, rate_hz = decode(DAMAGEABLE[name])
    assert len(decoded) / rate_hz == pytest.approx(0.5, abs=0.15)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", DAMAGEABLE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_decodes_or_is_the_clips_own_fault(name, data):
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
def test_ffmpeg_says_nothing_on_the_error_stream(place, capfd):
    for file in DAMAGEABLE.values():
        damaged = bytearray(file)
        begin = round(len(damaged) * place)
        damaged[begin : begin + 400] = bytes(400)
        with contextlib.suppress(ClipError):
            decode(bytes(damaged))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_without_pyav_one_line_says_what_to_install(tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError('no PyAV here')")
    (tmp_path / "clip.m4a").write_bytes(DAMAGEABLE["M4A"])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from transforms.audio.containers import ContainerStream, is_container\n"
        "from transforms.errors import ClipError\n"
        "file = open(sys.argv[1] + '/clip.m4a', 'rb')\n"
        "assert is_container(file.read(64))\n"
        "try:\n    ContainerStream(file)\n"
        "except ClipError as error:\n    print(error.reason.value, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("not_audio ")
    assert "pip install 'audioset-beam[containers]'" in done.stdout
