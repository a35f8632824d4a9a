import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import read_mono

from transforms.audio.decode import SpanReader, duration_s, mix_to_mono, open_audio
from transforms.errors import ClipError, Reason

INT16 = np.array([-32768, -32767, -1, 0, 1, 2, 12345, 32767], np.int16)


def encoded(samples, rate_hz: int = 16_000, container: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def decode(data: bytes, *span) -> np.ndarray:
    with open_audio(io.BytesIO(data)) as sound:
        return read_mono(sound, *span)


def reason_of(data: bytes, *span) -> Reason:
    with pytest.raises(ClipError) as caught:
        decode(data, *span)
    assert str(caught.value)
    return caught.value.reason


def noise(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def tone(rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)


def with_unknown_length(flac: bytes) -> bytes:
    """Return a FLAC as an encoder writes it to a pipe: STREAMINFO's 36-bit sample count is 0."""
    data = bytearray(flac)
    assert data[:4] == b"fLaC"
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF", "CAF", "AU"])
def test_16_bit_samples_are_divided_by_32768_exactly(container):
    np.testing.assert_array_equal(decode(encoded(INT16, container=container)), INT16 / 32768)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
def test_24_bit_samples_are_divided_by_their_full_scale_exactly(container):
    samples = np.array([-(2**23), -1, 0, 1, 2**23 - 1, 1_234_567], np.int32)
    data = encoded(samples << 8, container=container, subtype="PCM_24")
    np.testing.assert_array_equal(decode(data), samples / 2**23)


def test_32_bit_samples_are_divided_by_their_full_scale_exactly():
    samples = np.array([-(2**31), -1, 0, 1, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(decode(encoded(samples, subtype="PCM_32")), samples / 2**31)


def test_8_bit_samples_are_centred_and_divided_by_128():
    header = (
        b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 16000, 1, 8)
    )
    data = header + b"data" + struct.pack("<I", 4) + bytes([0, 127, 128, 255])
    np.testing.assert_array_equal(decode(data), np.array([-128, -1, 0, 127]) / 128)


@pytest.mark.parametrize(("subtype", "dtype"), [("FLOAT", np.float32), ("DOUBLE", np.float64)])
def test_float_samples_are_kept_beyond_full_scale(subtype, dtype):
    samples = np.array([-3.5, -1.0, 0.1, 1.0, 1e-20, 7.25], dtype)
    np.testing.assert_array_equal(decode(encoded(samples, subtype=subtype)), samples.astype(np.float64))


def test_waveform_is_float64():
    assert decode(encoded(INT16)).dtype == np.float64


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_mono_is_the_mean_of_the_channels(channels):
    samples = np.random.default_rng(channels).integers(-32768, 32768, (500, channels), np.int16)
    expected = (samples / 32768).mean(axis=1)
    np.testing.assert_allclose(decode(encoded(samples)), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_lossy_formats_decode_completely_and_without_delay(container, subtype):
    samples = tone(48_000)
    waveform = decode(encoded(samples, 48_000, container, subtype))
    assert len(waveform) == len(samples)
    np.testing.assert_allclose(waveform[4_800:-4_800], samples[4_800:-4_800], rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp3", "clip.txt", "clip", "clip.raw"])
def test_format_is_found_by_content_not_by_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(INT16))
    with path.open("rb") as file, open_audio(file) as sound:
        np.testing.assert_array_equal(read_mono(sound), INT16 / 32768)


def test_file_stays_open_for_the_caller():
    file = io.BytesIO(encoded(INT16))
    with open_audio(file):
        pass
    assert not file.closed


@pytest.mark.parametrize(
    ("start_s", "end_s", "first", "last"),
    [
        (0.0, None, 0, 16_000),
        (0.25, None, 4_000, 16_000),
        (0.25, 0.75, 4_000, 12_000),
        (0.0, 1.0, 0, 16_000),
        (0.5, 9.0, 8_000, 16_000),
        (1.0, 2.0, 0, 0),
        (5.0, None, 0, 0),
    ],
)
def test_a_span_has_its_own_samples(start_s, end_s, first, last):
    samples = noise(16_000)
    data = encoded(samples, subtype="DOUBLE")
    np.testing.assert_array_equal(decode(data, start_s, end_s), samples[first:last])


@settings(max_examples=40)
@given(start=st.integers(0, 1_200), length=st.integers(0, 1_200))
def test_span_is_a_slice_of_the_whole(start, length):
    data = encoded(noise((1_000, 2)), 4_000)
    part = decode(data, start / 4_000, (start + length) / 4_000)
    np.testing.assert_array_equal(part, decode(data)[start : start + length])


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_span_of_a_long_file_crosses_blocks(container):
    samples = np.random.default_rng(0).integers(-32768, 32768, 600_000, np.int16)
    data = encoded(samples, 8_000, container)
    np.testing.assert_array_equal(decode(data), samples / 32768)
    np.testing.assert_array_equal(decode(data, 30.0, 70.0), samples[240_000:560_000] / 32768)


def test_duration_comes_from_the_header():
    assert duration_s(io.BytesIO(encoded(noise(20_000), 8_000))) == 2.5


@pytest.mark.parametrize("num_samples", [1_000, 300_000])
def test_flac_of_unknown_length_decodes_whole(num_samples):
    samples = np.random.default_rng(0).integers(-32768, 32768, num_samples, np.int16)
    data = with_unknown_length(encoded(samples, 8_000, "FLAC"))
    np.testing.assert_array_equal(decode(data), samples / 32768)


def test_flac_of_unknown_length_has_a_duration_and_decodes_after_it():
    samples = np.random.default_rng(0).integers(-32768, 32768, 20_000, np.int16)
    file = io.BytesIO(with_unknown_length(encoded(samples, 8_000, "FLAC")))
    assert duration_s(file) == 2.5
    with open_audio(file) as sound:
        np.testing.assert_array_equal(read_mono(sound, 0.5, 1.0), samples[4_000:8_000] / 32768)


def test_header_without_samples_is_an_empty_waveform():
    assert decode(encoded(np.empty(0))).shape == (0,)


@pytest.mark.parametrize(
    "data", [b"", b"ID,start\nabc,30\n", b"<html>404 Not Found</html>", b"RIFF", bytes(1_000)]
)
def test_other_files_are_not_audio(data):
    assert reason_of(data) is Reason.NOT_AUDIO


def test_truncated_flac_is_corrupt():
    data = encoded(noise(100_000), container="FLAC")
    assert reason_of(data[: len(data) // 2]) is Reason.CORRUPT


def test_flac_that_ends_between_two_frames_is_corrupt():
    # With silence all FLAC frames are equal, so the last one can be removed cleanly.
    whole = encoded(np.zeros(4_096 * 4, np.int16), container="FLAC")
    one_less = encoded(np.zeros(4_096 * 3, np.int16), container="FLAC")
    audio = one_less[one_less.index(b"\xff\xf8") :]
    assert reason_of(whole[: whole.index(b"\xff\xf8")] + audio) is Reason.CORRUPT


def test_flac_with_a_hole_is_corrupt():
    data = bytearray(encoded(noise(100_000), container="FLAC"))
    data[50_000:51_000] = bytes(1_000)
    assert reason_of(bytes(data)) is Reason.CORRUPT


def test_truncated_wav_is_corrupt():
    data = encoded(np.arange(1_000, dtype=np.int16))
    assert reason_of(data[:-1_000]) is Reason.CORRUPT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite_are_rejected(value, subtype):
    samples = noise((100, 2))
    samples[50, 1] = value
    assert reason_of(encoded(samples, subtype=subtype)) is Reason.NOT_FINITE


def test_samples_outside_the_span_do_not_matter():
    samples = noise(16_000)
    samples[0] = np.nan
    waveform = decode(encoded(samples, subtype="DOUBLE"), 0.5, 1.0)
    np.testing.assert_array_equal(waveform, samples[8_000:])


@pytest.mark.parametrize("rate_hz", [1, 3_999, 192_001, 1_000_000])
def test_rate_outside_4_to_192_khz_is_unsupported(rate_hz):
    assert reason_of(encoded(INT16, rate_hz)) is Reason.UNSUPPORTED


@pytest.mark.parametrize("rate_hz", [4_000, 192_000])
def test_the_limits_of_the_rate_are_supported(rate_hz):
    assert len(decode(encoded(INT16, rate_hz))) == len(INT16)


def test_more_than_8_channels_are_unsupported():
    assert reason_of(encoded(noise((100, 9)))) is Reason.UNSUPPORTED


# soundfile prints exceptions inside its callbacks, and pytest turns these into warnings.
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_decodes_or_is_rejected(container, data):
    file = bytearray(encoded(noise((2_000, 2)), container=container))
    places = st.integers(0, len(file) - 1) | st.integers(0, 60)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        file[place] = value
    damaged = bytes(file[: data.draw(places) + 1]) if data.draw(st.booleans()) else bytes(file)
    try:
        duration = duration_s(io.BytesIO(damaged))
        waveform = decode(damaged)
    except ClipError as error:
        assert error.reason in (Reason.NOT_AUDIO, Reason.CORRUPT, Reason.UNSUPPORTED)
    else:
        assert duration >= 0
        assert waveform.ndim == 1
        assert np.isfinite(waveform).all()


@settings(max_examples=100)
@given(
    lengths=st.lists(st.integers(0, 30), max_size=6),
    takes=st.lists(st.integers(0, 40), max_size=6),
)
def test_consecutive_spans_equal_the_waveform_for_any_block_boundaries(lengths, takes):
    waveform = np.arange(sum(lengths), dtype=float)
    reader = SpanReader(np.split(waveform, np.cumsum(lengths)[:-1]) if lengths else [])
    position = 0
    for num_samples in takes:
        part = np.concatenate([np.empty(0), *reader.take(num_samples)])
        np.testing.assert_array_equal(part, waveform[position : position + num_samples])
        position = min(position + num_samples, len(waveform))
        assert reader.has_more() == (position < len(waveform))
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *reader.take()]), waveform[position:])


@pytest.mark.parametrize("channels", range(1, 9))
def test_mixing_gives_the_bits_of_the_mean(channels):
    rng = np.random.default_rng(channels)
    block = rng.uniform(-1, 1, (5_000, channels)) * 10.0 ** rng.integers(-20, 20, (5_000, channels))
    block[:8] = np.resize([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e308, -1e308], (8, 1))
    block[8:16] = -0.0
    for part in (block, np.asfortranarray(block), block[::3]):
        with np.errstate(invalid="ignore", over="ignore"):
            found, expected = mix_to_mono(part), part.mean(axis=1)
        np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


@pytest.mark.parametrize("channels", range(1, 9))
def test_mixing_16_bit_samples_gives_the_bits_of_the_mean(channels):
    block = np.random.default_rng(channels).integers(-(1 << 15), 1 << 15, (5_000, channels), np.int16)
    block[:3] = [[-(1 << 15)], [(1 << 15) - 1], [0]]
    found = mix_to_mono(block)
    assert found.dtype == (np.float32 if channels in (1, 2, 4, 8) else np.float64)
    np.testing.assert_array_equal(found.astype(np.float64), (block / 32768.0).mean(axis=1))
