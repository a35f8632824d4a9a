"""Waveforms in memory: each sample type equals a file with the same samples; other input is an error."""

import numpy as np
import pytest
import soundfile
from sounds import noise

from pipeline.embed import embed, read_waveform
from transforms.audio.waveform import check_rate_hz, mono_waveform
from transforms.errors import SettingError

pytestmark = pytest.mark.usefixtures("small_batches")

RANDOM = {"weights": "random:0", "pca_params": "none"}
RATE_HZ = 44_100
FLOATS = np.round(noise(1.2, RATE_HZ, 3) * 0.9 * 2**15) / 2**15


class Tensor:
    """An object that `numpy.asarray` converts, such as a PyTorch tensor on the CPU."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class OnDevice:
    """An object that cannot be converted, such as a tensor on a GPU."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu()")


def of_type(name: str, samples: np.ndarray) -> np.ndarray:
    """Return samples as an array of a type with its full scale."""
    if name == "uint8":
        return np.round(samples * 128 + 128).clip(0, 255).astype(np.uint8)
    scale = {"int16": 2**15, "int32": 2**31, ">i2": 2**15}.get(name)
    return (samples * scale).astype(name) if scale else samples.astype(name)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("uint8", "PCM_U8"),
        ("int16", "PCM_16"),
        (">i2", "PCM_16"),
        ("int32", "PCM_32"),
        ("float16", "FLOAT"),
        ("float32", "FLOAT"),
        ("float64", "DOUBLE"),
    ],
)
def test_each_sample_type_equals_the_file_with_the_same_samples(name, subtype, channels, tmp_path):
    samples = of_type(name, FLOATS[:, :channels])
    path = tmp_path / "a.wav"
    if name == "uint8":  # soundfile does not accept uint8, so use int16 with the byte on top
        soundfile.write(path, ((samples.astype(np.int16) - 128) << 8), RATE_HZ, subtype)
        assert (soundfile.read(path, always_2d=True)[0] * 128 + 128 == samples).all()
    else:
        data = samples.astype(samples.dtype.newbyteorder("="))
        soundfile.write(path, data.astype(np.float32) if name == "float16" else data, RATE_HZ, subtype)
    expected, _ = read_waveform(str(path))
    for audio in (samples, np.asfortranarray(samples), Tensor(samples), *([samples[:, 0]] * (channels == 1))):
        found = mono_waveform(audio)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


def test_embeddings_of_a_waveform_equal_those_of_its_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", FLOATS[:, :2], RATE_HZ, "PCM_16")
    expected = embed(tmp_path / "a.wav", **RANDOM)
    for dtype, rate_hz in (("int16", RATE_HZ), ("int32", RATE_HZ), ("float32", float(RATE_HZ))):
        samples, _ = soundfile.read(tmp_path / "a.wav", dtype=dtype)
        np.testing.assert_array_equal(embed(samples, rate_hz, **RANDOM), expected)


def test_a_list_of_floats_is_accepted():
    np.testing.assert_array_equal(mono_waveform([0.5, -0.25]), [0.5, -0.25])
    np.testing.assert_array_equal(mono_waveform([[0.5, 0.0], [-0.25, 0.25]]), [0.25, 0.0])


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 44_100), np.float32), r"shape is \(2, 44100\).*transpose it"),
        (np.zeros((1, 44_100), np.int16), "transpose it"),
        (np.zeros((44_100, 9)), "with 9 channels; give .* 1 to 8 channels"),
        (np.zeros((1, 44_100, 2)), r"shape is \(1, 44100, 2\).*one clip per call"),
        (np.float32(0), r"shape is \(\)"),
        (np.zeros(0), "without a sample"),
        (np.zeros((0, 2)), "without a sample"),
        (np.zeros((44_100, 0)), "without a sample"),
        ([], "without a sample"),
        ([0, 1, -1], "samples are int64"),
        ([[0.5, 0.5], [0.5]], "not an array"),
        (["a.wav", "b.wav"], "samples are <U5"),
        (b"RIFF", r"shape is \(\)"),
        (None, r"shape is \(\)"),
        (OnDevice(), "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu"),
        (np.zeros(9, bool), "samples are bool"),
        (np.zeros(9, np.int8), "samples are int8"),
        (np.zeros(9, np.uint16), "samples are uint16"),
        (np.zeros(9, complex), "samples are complex128"),
        (np.zeros(9, object), "samples are object"),
        (np.array([0.5, np.nan]), "NaN or infinite"),
        (np.array([[0.5, np.inf], [0.5, -np.inf], [0.0, 0.0]]), "NaN or infinite"),
        (np.array([12_000.0, -9.0]), "floats up to 12000, but full scale is 1.0; divide .* 32768"),
    ],
)
def test_invalid_waveforms_raise_a_one_line_error(audio, message):
    with pytest.raises(SettingError, match=message) as caught:
        embed(audio, 44_100, **RANDOM)
    assert len(str(caught.value).splitlines()) == 1 and "the waveform" in str(caught.value)


def test_floats_slightly_above_full_scale_are_kept():
    np.testing.assert_array_equal(mono_waveform(np.array([3.5, -32.0])), [3.5, -32.0])


@pytest.mark.parametrize(
    "rate_hz",
    [0, -16_000, 3_999, 192_001, 22_050.5, float("nan"), float("inf"), True, "44100", 1j, np.zeros(2)],
)
def test_invalid_rates_raise_a_one_line_error(rate_hz):
    with pytest.raises(SettingError, match=r"rate_hz=.*give") as caught:
        embed(np.zeros(44_100), rate_hz, **RANDOM)
    assert len(str(caught.value).splitlines()) == 1


def test_a_waveform_without_a_rate_is_an_error():
    with pytest.raises(SettingError, match="rate_hz is missing; give its sample rate"):
        embed(np.zeros(44_100), **RANDOM)


@pytest.mark.parametrize("rate_hz", [44_100, 44_100.0, np.int32(44_100), np.float64(44_100)])
def test_a_rate_may_be_any_type_of_whole_number(rate_hz):
    assert check_rate_hz(rate_hz) == 44_100 and type(check_rate_hz(rate_hz)) is int


@pytest.mark.parametrize("hop_s", [0.0, -1.0, float("nan")])
def test_an_invalid_hop_raises_a_one_line_error(hop_s):
    with pytest.raises(SettingError, match="hop_s is"):
        embed(np.zeros(44_100), 44_100, hop_s=hop_s, **RANDOM)
