"""Compare every format that libsndfile decodes with the WAV of the same samples."""

import io

import numpy as np
import pytest
import soundfile
from sounds import read_mono

from transforms.audio.decode import open_audio
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.errors import ClipError, Reason

RATES_HZ = (4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
OPUS_RATES_HZ = (8_000, 16_000, 48_000)
MP3_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)
CHANNELS = (1, 2, 6, 8)


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Return the waveform, float64[samples], and its rate."""
    with open_audio(io.BytesIO(data)) as stream:
        return read_mono(stream), stream.rate_hz


def log_mel(data: bytes) -> np.ndarray:
    """Return the examples, float32[n, 96, 64]."""
    waveform, rate_hz = decode(data)
    return np.concatenate(list(waveform_examples([waveform], rate_hz)))


def encoded(
    samples,
    rate_hz: int = 16_000,
    container: str = "WAV",
    subtype: str | None = None,
    endian: str | None = None,
) -> bytes:
    if subtype in ("FLOAT", "DOUBLE") and samples.dtype == np.int32:
        samples = samples / 2**31
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype, endian=endian)
    return file.getvalue()


def integers(bits: int, shape, seed: int = 0) -> np.ndarray:
    """Return left-aligned int32 of `bits` bits with both extremes; soundfile writes it without rounding."""
    values = np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape, np.int32)
    values[0], values[1] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return values << (32 - bits)


def music(rate_hz: int, channels: int, seconds: float = 1.0) -> np.ndarray:
    """Return float64[samples, channels]: a different rising tone per channel, and a hum for effects."""
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * ((200 + 70 * np.arange(channels)) * time_s[:, None] + 300 * time_s[:, None] ** 2)
    if channels >= 6:  # codecs keep only low frequencies in the last channel
        phase[:, -1] = 2 * np.pi * 60 * time_s
    return 0.3 * np.sin(phase)


def error(decoded: np.ndarray, source: np.ndarray) -> float:
    """Return the RMS of the difference over the RMS of the source."""
    assert decoded.shape == source.shape
    return float(np.sqrt(np.mean((decoded - source) ** 2) / np.mean(source**2)))


# container, subtype, endian, bits
LOSSLESS = [
    ("WAV", "PCM_U8", None, 8),
    ("WAV", "PCM_16", None, 16),
    ("WAV", "PCM_16", "BIG", 16),
    ("WAV", "PCM_24", None, 24),
    ("WAV", "PCM_32", None, 32),
    ("WAV", "FLOAT", None, 24),
    ("WAV", "DOUBLE", None, 32),
    ("WAVEX", "PCM_U8", None, 8),
    ("WAVEX", "PCM_16", None, 16),
    ("WAVEX", "PCM_24", None, 24),
    ("WAVEX", "FLOAT", None, 24),
    ("RF64", "PCM_16", None, 16),
    ("RF64", "PCM_24", None, 24),
    ("W64", "PCM_16", None, 16),
    ("AIFF", "PCM_S8", None, 8),
    ("AIFF", "PCM_16", None, 16),
    ("AIFF", "PCM_16", "LITTLE", 16),  # sowt
    ("AIFF", "PCM_24", None, 24),
    ("AIFF", "PCM_32", None, 32),
    ("AIFF", "FLOAT", None, 24),
    ("AU", "PCM_S8", None, 8),
    ("AU", "PCM_16", None, 16),
    ("AU", "PCM_16", "LITTLE", 16),
    ("AU", "PCM_24", None, 24),
    ("AU", "FLOAT", None, 24),
    ("CAF", "PCM_16", None, 16),
    ("CAF", "PCM_24", None, 24),
    ("CAF", "FLOAT", None, 24),
    ("CAF", "ALAC_16", None, 16),
    ("FLAC", "PCM_S8", None, 8),
    ("FLAC", "PCM_16", None, 16),
    ("FLAC", "PCM_24", None, 24),
]
lossless = pytest.mark.parametrize(("container", "subtype", "endian", "bits"), LOSSLESS)

# container, subtype, rates, channels, largest error, largest mean difference of log-mel values
LOSSY = [
    ("WAV", "ALAW", RATES_HZ, CHANNELS, 0.02, 0.05),
    ("WAV", "ULAW", RATES_HZ, CHANNELS, 0.02, 0.05),
    ("AU", "ULAW", RATES_HZ, CHANNELS, 0.02, 0.05),
    ("OGG", "VORBIS", RATES_HZ, CHANNELS, 0.1, 0.25),
    ("OGG", "OPUS", OPUS_RATES_HZ, CHANNELS, 0.2, 0.3),
    ("MP3", "MPEG_LAYER_III", MP3_RATES_HZ, (1, 2), 0.1, 0.2),
]


@pytest.mark.parametrize("channels", CHANNELS)
@lossless
def test_lossless_formats_decode_to_the_samples_over_full_scale(container, subtype, endian, bits, channels):
    samples = integers(bits, (3_000, channels))
    waveform, rate_hz = decode(encoded(samples, 44_100, container, subtype, endian))
    assert rate_hz == 44_100
    np.testing.assert_array_equal(waveform, (samples / 2**31).mean(axis=1))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@lossless
def test_lossless_formats_decode_at_every_rate(container, subtype, endian, bits, rate_hz):
    samples = integers(bits, (1_000, 1))
    waveform, decoded_rate_hz = decode(encoded(samples, rate_hz, container, subtype, endian))
    assert decoded_rate_hz == rate_hz
    np.testing.assert_array_equal(waveform, samples[:, 0] / 2**31)


@pytest.mark.parametrize("channels", CHANNELS)
def test_24_bit_alac_decodes_to_the_samples_over_full_scale(channels):
    # A separate test, because libsndfile's encoder fails with loud stereo noise of 24 bits.
    samples = np.round(music(44_100, channels) * 2**23).astype(np.int32) << 8
    waveform, _ = decode(encoded(samples, 44_100, "CAF", "ALAC_24"))
    np.testing.assert_array_equal(waveform, (samples / 2**31).mean(axis=1))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@lossless
def test_lossless_features_are_those_of_the_wav_bit_by_bit(container, subtype, endian, bits, rate_hz):
    samples = np.round(music(rate_hz, 2, 1.2) * 2 ** (bits - 1)).astype(np.int32) << (32 - bits)
    expected = log_mel(encoded(samples, rate_hz, "WAV", "PCM_32"))
    np.testing.assert_array_equal(log_mel(encoded(samples, rate_hz, container, subtype, endian)), expected)


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz", "channels", "bound"),
    [
        (container, subtype, rate_hz, channels, bound)
        for container, subtype, rates_hz, all_channels, bound, _ in LOSSY
        for rate_hz in rates_hz
        for channels in all_channels
    ],
)
def test_lossy_formats_decode_in_full_and_near_their_source(container, subtype, rate_hz, channels, bound):
    samples = music(rate_hz, channels)
    waveform, decoded_rate_hz = decode(encoded(samples, rate_hz, container, subtype))
    if subtype == "OPUS":
        # The rate in the header does not matter (RFC 7845, 5.1).
        assert decoded_rate_hz == 48_000
        waveform = waveform[:: 48_000 // rate_hz]
    else:
        assert decoded_rate_hz == rate_hz
    assert error(waveform, samples.mean(axis=1)) < bound


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz", "bound"),
    [
        (container, subtype, rate_hz, bound)
        for container, subtype, rates_hz, _, _, bound in LOSSY
        for rate_hz in rates_hz
        if rate_hz in (16_000, 44_100, 48_000)
    ],
)
def test_features_of_lossy_formats_are_near_those_of_the_wav(container, subtype, rate_hz, bound):
    noise = 0.05 * np.random.default_rng(0).standard_normal((round(rate_hz * 2.2), 1))
    samples = music(rate_hz, 1, 2.2) + noise
    expected = log_mel(encoded(samples, rate_hz))
    assert len(expected) == 2
    assert np.abs(log_mel(encoded(samples, rate_hz, container, subtype)) - expected).mean() < bound


@pytest.mark.parametrize("container", ["AIFF", "CAF", "AU", "WAV"])
def test_the_padding_byte_of_odd_8_bit_audio_is_not_decoded(container):
    samples = integers(8, (999, 1))
    data = encoded(samples, 16_000, container, "PCM_U8" if container == "WAV" else "PCM_S8")
    if container == "AIFF":  # libsndfile's writer includes the padding byte in COMM
        assert data.count(b"\x00\x01\x00\x00\x03\xe8\x00\x08") == 1
        data = data.replace(b"\x00\x01\x00\x00\x03\xe8\x00\x08", b"\x00\x01\x00\x00\x03\xe7\x00\x08")
    waveform, _ = decode(data)
    np.testing.assert_array_equal(waveform, samples[:, 0] / 2**31)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [(name, "PCM_16") for name in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF")] + [("OGG", "VORBIS")],
)
def test_a_file_without_samples_is_an_empty_waveform(container, subtype):
    waveform, rate_hz = decode(encoded(np.empty((0, 2)), 44_100, container, subtype))
    assert (waveform.shape, rate_hz) == ((0,), 44_100)


@pytest.mark.parametrize("container", ["WAV", "RF64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("rate_hz", [1, 1_000_000])
def test_header_rates_of_1_hz_and_1_mhz_are_unsupported(container, rate_hz):
    with pytest.raises(ClipError, match=f"sample rate {rate_hz} Hz") as caught:
        decode(encoded(np.zeros(100), rate_hz, container))
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("channels", [9, 64])
def test_more_than_8_channels_are_unsupported(container, channels):
    with pytest.raises(ClipError, match=f"{channels} channels") as caught:
        decode(encoded(np.zeros((100, channels)), 44_100, container))
    assert caught.value.reason is Reason.UNSUPPORTED


@lossless
def test_silence_decodes_to_zeros(container, subtype, endian, bits):
    waveform, _ = decode(encoded(np.zeros((20_000, 2), np.int32), 16_000, container, subtype, endian))
    np.testing.assert_array_equal(waveform, np.zeros(20_000))


@pytest.mark.parametrize(("container", "subtype"), [case[:2] for case in LOSSY])
def test_silence_of_lossy_formats_decodes_to_less_than_one_step_of_16_bits(container, subtype):
    waveform, _ = decode(encoded(np.zeros((48_000, 2)), 48_000, container, subtype))
    assert len(waveform) == 48_000
    assert np.abs(waveform).max() <= (2**-12 if subtype == "ALAW" else 2**-15)
