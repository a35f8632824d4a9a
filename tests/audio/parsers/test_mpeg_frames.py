import io
import struct

import av
import media
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from surgery import (
    APE,
    ID3V1,
    ID3V2,
    encoded,
    message_of,
    mp3_frames,
    noise,
    rate_of,
    samples_of,
    with_number,
)

from transforms.audio.parsers.mpeg_frames import mpeg_links
from transforms.audio.parsers.mpeg_header import frame_lengths, parse_header
from transforms.errors import ClipError, Reason

WHOLE = encoded(noise(40_000), container="MP3")
FRAMES = mp3_frames(WHOLE)
SAMPLES = samples_of(WHOLE)


def lavf(samples, rate_hz: int = 44_100, codec: str = "libmp3lame", info: bool = True, **options) -> bytes:
    """Encode float64[frames, channels] with ffmpeg."""
    file, channels = io.BytesIO(), samples.shape[1]
    layout, kind = ("mono", "stereo")[channels - 1], "s16p" if codec == "libmp3lame" else "s16"
    container = {"mp2": "mp2"}.get(codec, "mp3")
    settings = {"write_xing": "1" if info else "0", "id3v2_version": "0"} if container == "mp3" else {}
    with av.open(file, "w", format=container, options=settings) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout, options=options)
        stream.codec_context.format = kind
        values = np.round(samples * 2**15).astype(np.int16)
        for begin in range(0, len(values), 1_152):
            part = values[begin : begin + 1_152]
            part = part.T if kind.endswith("p") else part.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), kind, layout)
            frame.sample_rate, frame.pts = rate_hz, begin
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def test_a_vbr_file_without_a_header_is_decoded_to_its_end():
    samples = noise(400_000)
    samples[50_000:] = 0
    frames = mp3_frames(encoded(samples, container="MP3"))[1:]
    assert len(frames[10]) > 2 * len(frames[-10])  # far from the mean, from which libsndfile would estimate
    assert len(samples_of(b"".join(frames))) == 1_152 * len(frames) > 400_000


@pytest.mark.parametrize("stated", [0, 1, 20, len(FRAMES) - 2])
def test_a_header_that_states_too_few_frames_is_corrected(stated):
    waveform = samples_of(with_number(FRAMES[0], stated) + b"".join(FRAMES[1:]))
    np.testing.assert_array_equal(waveform[: len(SAMPLES)], SAMPLES)
    # The encoder's padding stays, because the padding in the header belongs to another end.
    assert 0 <= len(waveform) - len(SAMPLES) < 2 * 1_152


def test_intact_files_are_passed_to_the_decoder_unchanged():
    for data in (WHOLE, WHOLE + ID3V1):
        assert [link.pieces for link in mpeg_links(io.BytesIO(data))] == [None]
    for data in (WHOLE + APE + ID3V1, ID3V2 + WHOLE, APE + ID3V2 + WHOLE + ID3V1):
        np.testing.assert_array_equal(samples_of(data), SAMPLES)


@pytest.mark.parametrize("tags", [b"", ID3V2, ID3V1, APE, APE + ID3V1 + ID3V2])
def test_concatenated_files_with_headers_are_decoded_one_after_the_other(tags):
    np.testing.assert_array_equal(samples_of(WHOLE + tags + WHOLE), np.concatenate([SAMPLES, SAMPLES]))


@pytest.mark.parametrize("tags", [b"", ID3V2, ID3V1, APE, APE + ID3V1 + ID3V2])
def test_concatenated_files_without_headers_are_decoded_completely(tags):
    bare = b"".join(FRAMES[1:])
    waveform = samples_of(bare + tags + bare)
    assert len(waveform) == 2 * (len(FRAMES) - 1) * 1_152
    np.testing.assert_array_equal(waveform[: len(waveform) // 2 - 1_152], samples_of(bare)[:-1_152])


def test_a_file_appended_to_one_with_a_header_is_decoded():
    bare = b"".join(FRAMES[1:])
    assert len(samples_of(WHOLE + bare)) >= len(SAMPLES) + len(samples_of(bare))


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 2), (44_100, 1), (22_050, 2)])
@pytest.mark.parametrize("tags", [b"", ID3V1 + ID3V2])
def test_concatenated_files_with_different_rates_or_channels_are_corrupt(rate_hz, channels, tags):
    other = encoded(noise(50_000, channels), rate_hz, "MP3")
    change = f"changes to {rate_hz} Hz, {'1 channel and' if channels == 1 else '2 channels and'} layer III"
    assert change in message_of(WHOLE + tags + other)
    bare = b"".join(mp3_frames(other)[1:])
    assert change in message_of(b"".join(FRAMES[1:]) + tags + bare)


def test_a_hole_is_corrupt():
    place = len(WHOLE) // 2
    for hole in (b"", bytes(3_000), bytes(100)):
        assert "no frames, after MPEG frame" in message_of(WHOLE[:place] + hole + WHOLE[place + 3_000 :])
    bare = b"".join(FRAMES[1:])
    assert "no frames, after MPEG frame" in message_of(bare[:place] + bare[place + 700 :])


def test_fewer_frames_than_the_header_states_are_corrupt():
    assert message_of(b"".join(FRAMES[:10] + FRAMES[15:])).endswith(
        f"ends at MPEG frame {len(FRAMES) - 6} of {len(FRAMES) - 1}"
    )


@settings(max_examples=50)
@given(cut=st.integers(0, len(WHOLE)))
@example(cut=len(WHOLE) - 1)
def test_a_truncated_file_with_a_header_decodes_completely_or_is_rejected(cut):
    try:
        waveform = samples_of(WHOLE[:cut])
    except ClipError as error:
        assert error.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)
    else:
        assert len(waveform) == len(SAMPLES)


def test_a_stream_without_a_header_may_be_cut_off_anywhere():
    bare = b"".join(FRAMES[1:])
    whole = samples_of(bare)
    assert len(whole) == (len(FRAMES) - 1) * 1_152
    np.testing.assert_array_equal(samples_of(bare[:-1]), whole[:-1_152])
    np.testing.assert_array_equal(samples_of(bare[:-1] + ID3V1), whole[:-1_152])
    late = b"".join(FRAMES[20:])
    assert len(samples_of(late)) == (len(FRAMES) - 20) * 1_152


def test_junk_at_the_end_is_accepted_only_if_all_stated_frames_are_there():
    junk = bytes(range(250)) * 30
    np.testing.assert_array_equal(samples_of(WHOLE + junk), SAMPLES)
    bare = b"".join(FRAMES[1:])
    assert "are no frames" in message_of(bare + junk)
    assert "are no frames" in message_of(bare + bytes(5_000))  # an incomplete download


def test_the_stated_number_of_frames_may_include_the_header_frame():
    place = FRAMES[0].find(b"LAME")
    nameless = FRAMES[0][:place] + bytes(4) + FRAMES[0][place + 4 :]
    counted = with_number(nameless, len(FRAMES))
    assert len(samples_of(counted + b"".join(FRAMES[1:]))) > (len(FRAMES) - 2) * 1_152
    # One frame fewer, which the number of bytes shows.
    assert "ends at MPEG frame" in message_of(counted + b"".join(FRAMES[1:-1]))


def test_a_vbri_header_is_compared_with_the_frames():
    silent = FRAMES[0][:4] + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 0, len(WHOLE), len(FRAMES) - 1)
    silent += bytes(len(FRAMES[0]) - len(silent))
    assert len(samples_of(silent + b"".join(FRAMES[1:]))) >= (len(FRAMES) - 1) * 1_152
    assert "ends at MPEG frame" in message_of(silent + b"".join(FRAMES[1:-5]))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_rate_and_version_decodes_with_and_without_a_header(rate_hz, channels):
    data = encoded(noise(rate_hz, channels), rate_hz, "MP3")
    assert len(samples_of(data)) == rate_hz
    bare = b"".join(mp3_frames(data)[1:])
    samples = samples_of(bare)
    assert samples.shape == (len(mp3_frames(bare)) * (1_152 if rate_hz >= 32_000 else 576), channels)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_layer_ii_decodes(rate_hz, channels):
    data = lavf(noise(rate_hz, channels), rate_hz, "mp2", info=False)
    frames = mp3_frames(data)
    assert samples_of(data).shape == (len(frames) * 1_152, channels)
    assert rate_of(data) == rate_hz
    assert "no frames, after MPEG frame" in message_of(data[:2_000] + data[2_500:])


def test_layer_i_decodes():
    # 32 bands with no bits: 32 kbit/s at 32 kHz, 12 slots of 4 bytes.
    frame = b"\xff\xff\x18\xc4" + bytes(44)
    assert frame_lengths(parse_header(frame))[frame[2]] == 48
    assert samples_of(frame * 500).shape == (500 * 384, 1)


def test_free_format_decodes():
    # 128 kbit/s at 48 kHz is 384 bytes per frame; free format leaves the bit rate out.
    plain = lavf(noise(48_000), 48_000, info=False, b="128k")
    frames = mp3_frames(plain)
    assert {len(frame) for frame in frames} == {384}
    free = b"".join(frame[:2] + bytes([frame[2] & 0x0F]) + frame[3:] for frame in frames)
    np.testing.assert_array_equal(samples_of(free), samples_of(plain))
    assert "no frames, after MPEG frame" in message_of(free[:4_000] + free[4_100:])


def test_the_header_from_ffmpeg_is_compared_and_its_delay_removed():
    samples = noise(100_000)
    data = lavf(samples)
    assert len(samples_of(data)) == 100_000
    assert "ends at MPEG frame" in message_of(data[:-2_000])


@settings(max_examples=50)
@given(data=st.data())
def test_damage_never_shortens_the_audio_without_an_error(data):
    place = data.draw(st.integers(len(FRAMES[0]), len(WHOLE) - 1))  # before that, there is no header
    length = data.draw(st.integers(1, 3_000))
    with_hole = WHOLE[:place] + WHOLE[place + length :]
    try:
        assert len(samples_of(with_hole)) >= len(SAMPLES)
    except ClipError as error:
        assert error.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)


def test_a_tag_longer_than_the_file_is_ignored():
    bare = b"".join(FRAMES[1:])
    assert "no frames, after MPEG frame" in message_of(bare + b"ID3\4\0\0\7\0\0\0" + bare)


def test_a_file_that_shrinks_while_it_is_read_ends():
    class Shrunk(io.BytesIO):
        def seek(self, offset, whence=0):
            return super().seek(offset, whence) + (100_000 if whence == 2 else 0)

    assert [link.pieces for link in mpeg_links(Shrunk(WHOLE))] == [None]


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mpeg_frames_in_a_wav_are_counted(codec):
    kind = "s16p" if codec == "libmp3lame" else "s16"
    data = media.contained(media.sweep(44_100, 2), 44_100, "wav", codec, kind)
    begin = data.index(b"data") + 8
    bare = data[begin : begin + int.from_bytes(data[begin - 4 : begin], "little")]
    assert len(samples_of(data)) == 1_152 * len(mp3_frames(bare))
    np.testing.assert_array_equal(samples_of(data), samples_of(bare))
    assert "bytes of samples that its header states" in message_of(data[:-2_000])


@pytest.mark.parametrize("stated", [0, 1])
def test_a_truncated_header_frame_is_rejected(stated):
    data = with_number(FRAMES[0], stated)[:-1]
    if stated:
        assert message_of(data) == "ends at MPEG frame 0 of 1"
    else:
        with pytest.raises(ClipError):
            samples_of(data)
