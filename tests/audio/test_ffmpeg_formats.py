"""Formats that libsndfile does not read: intact, damaged and truncated."""

import contextlib
import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
from media import (
    M4A,
    MKV_FLAC,
    WMA,
    contained,
    decode,
    error,
    frames_of,
    lag,
    rejection_of,
    sweep,
    verbatim_flac,
)

from transforms.audio.decode import duration_s, mono_blocks, open_audio
from transforms.errors import ClipError, Reason

ID3V2 = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
ID3V1 = b"TAG" + bytes(125)
RATE_HZ = 44_100
# name: container, codec, sample format, rate, error, samples by which the audio is later or longer
FORMS = {
    "ADTS": ("adts", "aac", "fltp", RATE_HZ, 0.05, 1_024),
    "AMR": ("amr", "libopencore_amrnb", "s16", 8_000, 0.4, 200),
    "WavPack": ("wv", "wavpack", "s16p", RATE_HZ, 1e-4, 0),
    "AVI, PCM": ("avi", "pcm_s16le", "s16", RATE_HZ, 1e-4, 0),
    "AVI, MP3": ("avi", "libmp3lame", "s16p", RATE_HZ, 0.05, 1_152),
    "AVI, AC-3": ("avi", "ac3", "fltp", RATE_HZ, 0.05, 1_536),
    "FLV, AAC": ("flv", "aac", "fltp", RATE_HZ, 0.05, 1_024),
    "FLV, MP3": ("flv", "libmp3lame", "s16p", RATE_HZ, 0.05, 1_152),
    "TS, AAC": ("mpegts", "aac", "fltp", RATE_HZ, 0.05, 1_024),
    "TS, MP2": ("mpegts", "mp2", "s16", RATE_HZ, 0.05, 1_152),
    "TS, AC-3": ("mpegts", "ac3", "fltp", RATE_HZ, 0.05, 1_536),
    "Ogg, FLAC": ("ogg", "flac", "s16", RATE_HZ, 1e-4, 0),
    "WAV, AC-3": ("wav", "ac3", "fltp", RATE_HZ, 0.05, 1_536),
    "MOV, PCM": ("mov", "pcm_s16le", "s16", RATE_HZ, 1e-4, 0),
}


def source_of(name: str) -> np.ndarray:
    return sweep(FORMS[name][3], 1 if name == "AMR" else 2, 2)


def made(name: str, **options) -> bytes:
    container, codec, sample_format, rate_hz, _, _ = FORMS[name]
    return contained(source_of(name), rate_hz, container, codec, sample_format, **options)


@pytest.mark.parametrize("name", FORMS)
def test_a_file_decodes_completely_and_close_to_its_source(name):
    *_, rate_hz, bound, delay = FORMS[name]
    source = source_of(name)
    decoded, decoded_rate_hz = decode(made(name))
    assert decoded_rate_hz == rate_hz
    shift = lag(decoded, source)
    assert 0 <= shift <= delay
    assert 0 <= len(decoded) - shift - len(source) < 1_536
    assert error(decoded, source, shift) < bound


@pytest.mark.parametrize("name", [n for n in FORMS if n[:3] in ("AVI", "FLV", "TS,", "Ogg")])
def test_the_audio_of_a_video_decodes_completely(name):
    if name.startswith("FLV"):  # its muxer does not support MPEG-4 video
        pytest.skip("no video codec for it here")
    alone, with_video = decode(made(name))[0], decode(made(name, video_s=3))[0]
    assert len(with_video) == len(alone)


# A WAV is decoded as far as it goes, whatever its header states.
CUTTABLE = [name for name in FORMS if not name.startswith("WAV")]


@pytest.mark.parametrize("kept", [0.6, 0.93])
@pytest.mark.parametrize("name", CUTTABLE)
def test_a_truncated_file_is_rejected(name, kept):
    data = made(name)
    rejection = rejection_of(data[: round(len(data) * kept)])
    # The index of a MOV is at its end.
    assert rejection.reason is (Reason.NOT_AUDIO if name == "MOV, PCM" else Reason.CORRUPT)


@pytest.mark.parametrize("name", [name for name in CUTTABLE if name not in ("AMR", "MOV, PCM")])
def test_a_file_with_a_hole_is_corrupt(name):
    data = bytearray(made(name))
    middle = len(data) // 2
    data[middle : middle + 30_000] = bytes(len(data[middle : middle + 30_000]))
    assert rejection_of(bytes(data)).reason is Reason.CORRUPT


def test_a_transport_stream_that_lost_packets_is_corrupt():
    data = made("TS, AAC")
    middle = len(data) // 188 // 2 * 188
    assert rejection_of(data[:middle] + data[middle + 188 :]).reason is Reason.CORRUPT


def test_concatenated_transport_streams_decode_completely():
    data = made("TS, AAC")
    assert len(decode(data + data)[0]) == 2 * len(decode(data)[0])


def test_a_transport_stream_with_time_codes_is_read():
    data = made("TS, AAC")
    packets = [bytes(4) + data[begin : begin + 188] for begin in range(0, len(data), 188)]
    np.testing.assert_array_equal(decode(b"".join(packets))[0], decode(data)[0])


def test_a_quicktime_file_without_ftyp_is_read():
    data = made("MOV, PCM")
    rest = data[struct.unpack_from(">I", data)[0] :]
    assert rest[4:8] != b"ftyp"
    np.testing.assert_array_equal(decode(rest)[0].shape, decode(data)[0].shape)


@pytest.mark.parametrize("bits", [12, 20, 32])
def test_flac_of_every_width_is_exact(bits):
    values = np.random.default_rng(bits).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (6_000, 2))
    data = verbatim_flac(values, 16_000, bits)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(data))
    for file in (data, data + ID3V1, ID3V2 + data):
        decoded, rate_hz = decode(file)
        assert rate_hz == 16_000
        np.testing.assert_array_equal(decoded, values / 2 ** (bits - 1))


def test_flac_of_20_bits_that_is_damaged_is_corrupt():
    data = verbatim_flac(np.random.default_rng(0).integers(-(2**19), 2**19, (20_000, 1)), 16_000, 20)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for file in (data[: len(data) * 2 // 3], bytes(flipped), data[:20_000] + data[21_000:]):
        assert rejection_of(file).reason is Reason.CORRUPT
    rejection = rejection_of(data + data)
    assert rejection.reason is Reason.CORRUPT
    assert "more than the 20000 frames" in str(rejection)


def test_tags_around_adts_are_ignored():
    data = made("ADTS")
    expected, _ = decode(data)
    long_tag = b"ID3\x04\0\0\0\x02\0\0" + bytes(2 << 14)
    for file in (ID3V2 + data, ID3V2 + ID3V2 + data, long_tag + data, data + ID3V1, ID3V2 + data + ID3V1):
        np.testing.assert_array_equal(decode(file)[0], expected)
    assert duration_s(io.BytesIO(ID3V2 + data)) == len(expected) / RATE_HZ


@pytest.mark.parametrize("hole", [b"", bytes(1_500)], ids=["half a frame is absent", "frames are zeros"])
def test_adts_with_bytes_between_its_frames_is_corrupt(hole):
    frames = frames_of(made("ADTS"))
    if hole:
        frames[40:44] = [bytes(sum(map(len, frames[40:44])))]
    else:
        frames[40] = frames[40][:100]
    rejection = rejection_of(b"".join(frames))
    assert rejection.reason is Reason.CORRUPT


@pytest.mark.parametrize(
    "rest", [bytes(400), b"garbage " * 50, b"\xff\xf1"], ids=["zeros", "text", "a header"]
)
def test_adts_followed_by_other_bytes_is_corrupt(rest):
    assert rejection_of(made("ADTS") + rest).reason is Reason.CORRUPT


@pytest.mark.parametrize(
    "front",
    [
        b"APETAGEX" + struct.pack("<IIII", 2_000, 532, 1, 0xA000_0000) + bytes(8 + 532),
        bytes(3_000),
        b"left from a tag \xff\xfb" * 200,
    ],
    ids=["an APE tag", "zeros", "junk"],
)
def test_mp3_after_other_bytes_is_found(front):
    data = contained(sweep(RATE_HZ, 2, 2), RATE_HZ, "mp3", "libmp3lame", "s16p")
    expected, _ = decode_any(data)
    decoded, rate_hz = decode_any(front + data)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(decoded, expected)


def decode_any(data: bytes) -> tuple[np.ndarray, int]:
    """Decode with libsndfile or ffmpeg to float[samples], and return the rate too."""
    with open_audio(io.BytesIO(data)) as stream:
        return np.concatenate(list(mono_blocks(stream))), stream.rate_hz


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2", "ac3", "wmav2", "adpcm_ima_wav", "adpcm_yamaha"])
def test_wav_of_any_codec_decodes_to_its_end(codec):
    """libsndfile decodes some of the codecs, and ffmpeg the others."""
    source = sweep(RATE_HZ, 2, 2)
    planar = {"mp2": "s16", "adpcm_yamaha": "s16", "ac3": "fltp", "wmav2": "fltp"}
    data = contained(source, RATE_HZ, "wav", codec, planar.get(codec, "s16p"))
    decoded, rate_hz = decode_any(data)
    assert rate_hz == RATE_HZ
    assert abs(len(decoded) - len(source)) < 4_096
    assert np.abs(decoded).max() > 0.1


def with_chapters(container: str, codec: str, sample_format: str) -> bytes:
    """Make a file whose second track or attachment is not audio."""
    data, file = contained(sweep(RATE_HZ, 2, 2), RATE_HZ, container, codec, sample_format), io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        if container == "matroska":
            output.add_attachment("cover.ttf", "application/x-truetype-font", bytes(500))
        else:
            whole = {"id": 1, "start": 0, "end": 2_000, "time_base": Fraction(1, 1_000), "metadata": {}}
            output.set_chapters([whole | {"metadata": {"title": "One"}}])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("form", [M4A, ("matroska", "aac", "fltp"), MKV_FLAC])
def test_a_track_without_audio_changes_nothing(form):
    data = with_chapters(*form)
    with av.open(io.BytesIO(data)) as container:
        assert [stream.type for stream in container.streams] != ["audio"]
    decoded, _ = decode(data)
    np.testing.assert_array_equal(decoded, decode(contained(sweep(RATE_HZ, 2, 2), RATE_HZ, *form))[0])


def test_the_decoder_is_flushed_in_a_video_too():
    source = sweep(RATE_HZ, 2, 2)
    alone, _ = decode(contained(source, RATE_HZ, *WMA))
    with_video, _ = decode(contained(source, RATE_HZ, *WMA, video_s=2))
    np.testing.assert_array_equal(alone, with_video)


@pytest.mark.parametrize("name", FORMS)
def test_nothing_is_printed_about_a_damaged_file(name, capfd):
    data = bytearray(made(name))
    place = len(data) // 2
    data[place : place + 300] = np.random.default_rng(0).bytes(300)
    for file in (bytes(data), bytes(data[: place + 100])):
        with contextlib.suppress(ClipError):
            decode_any(file)
    assert capfd.readouterr() == ("", "")
