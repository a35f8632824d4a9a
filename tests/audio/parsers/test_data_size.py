import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surgery import SAMPLES, SIZES, encoded, made, message_of, samples_of, with_size

from transforms.audio.decode import open_audio
from transforms.errors import ClipError, Reason

every = pytest.mark.parametrize("form", SIZES)


@pytest.mark.parametrize("riff_bytes", [None, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("data_bytes", [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_wav_of_unknown_length_extends_to_the_end_of_the_file(data_bytes, riff_bytes):
    data = with_size(made("WAV"), "WAV", data_bytes, riff_bytes)
    np.testing.assert_array_equal(samples_of(data), SAMPLES)


@pytest.mark.parametrize("form", ["WAV", "RIFX", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_a_size_of_0_means_the_end_of_the_file(form):
    np.testing.assert_array_equal(samples_of(with_size(made(form), form, 0)), SAMPLES)


@pytest.mark.parametrize(
    ("form", "stated"),
    [
        ("WAV", 0xFFFFFFFF),
        ("RIFX", 0xFFFFFFFF),
        ("AU", 0xFFFFFFFF),
        ("AIFF", 0xFFFFFFF7),
        ("CAF", -5),
        ("RF64", 2**64 - 1),
        ("RF64", 2**63 - 1),
        ("W64", 2**63 - 25),
    ],
)
def test_the_size_from_a_pipe_means_the_end_of_the_file(form, stated):
    np.testing.assert_array_equal(samples_of(with_size(made(form), form, stated)), SAMPLES)


@every
@pytest.mark.parametrize("stated", [2_002, 4_000, 100_000, 1 << 30])
def test_fewer_samples_than_stated_are_corrupt(form, stated):
    message = message_of(with_size(made(form), form, stated))
    assert f"of the {stated} bytes of samples that its header states" in message


@every
def test_a_partial_frame_at_the_end_is_ignored(form):
    np.testing.assert_array_equal(samples_of(with_size(made(form), form, 2_001)), SAMPLES)
    np.testing.assert_array_equal(samples_of(made(form) + b"\7"), SAMPLES)


@pytest.mark.parametrize("form", ["WAV", "RIFX", "RF64", "W64", "CAF"])
@pytest.mark.parametrize("stated", [2, 500, 1_998])
def test_bytes_after_the_stated_samples_are_corrupt_unless_they_are_chunks(form, stated):
    riff_bytes = 0 if form in ("WAV", "RIFX") else None
    assert "are not a chunk" in message_of(with_size(made(form), form, stated, riff_bytes))


@every
def test_a_second_file_after_the_samples_is_corrupt(form):
    assert message_of(made(form) + made(form))
    assert message_of(made(form, SAMPLES[:0]) + made(form))


@pytest.mark.parametrize(("form", "order"), [("WAV", "<"), ("AIFF", ">")])
def test_a_chunk_after_a_padding_byte_is_not_audio(form, order):
    odd = encoded(SAMPLES[:999], 16_000, form, "PCM_U8" if form == "WAV" else "PCM_S8")
    chunk = struct.pack(f"{order}4sI4s", b"LIST", 4, b"INFO")
    size = struct.pack(f"{order}I", len(odd) - 8 + len(chunk))
    longer = odd[:4] + size + odd[8:] + chunk
    np.testing.assert_array_equal(samples_of(longer), samples_of(odd))


def test_a_second_file_after_a_padding_byte_is_corrupt():
    odd = encoded(SAMPLES[:999], 16_000, "WAV", "PCM_U8")
    assert len(odd) % 2 == 0 and len(samples_of(odd)) == 999
    assert "are not a chunk" in message_of(odd + odd)


@pytest.mark.parametrize("stated", [0xFFFFFFFF, (5 << 30) % (1 << 32)], ids=["from a pipe", "wrapped"])
@pytest.mark.parametrize("form", ["WAV", "AU"])
def test_a_recording_over_4_gib_is_read_to_its_end(tmp_path, form, stated):
    with (tmp_path / "sparse").open("wb+") as file:
        header = with_size(made(form), form, stated)[:-2_000]
        file.write(header)
        file.truncate(len(header) + (5 << 30))
        with open_audio(file) as stream:
            assert stream.num_frames == 5 << 29


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *(("WAV", codec) for codec in ("ULAW", "PCM_24", "FLOAT", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
        *(("AIFF", codec) for codec in ("DOUBLE", "ULAW", "IMA_ADPCM")),
        *(("WAVEX", "PCM_24"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "ALAC_16")),
        *(("NIST", "PCM_16"), ("NIST", "ULAW"), ("SVX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16")),
    ],
)
@settings(max_examples=15)
@given(data=st.data())
def test_a_truncated_file_of_any_codec_decodes_completely_or_is_rejected(form, subtype, data):
    samples = (np.random.default_rng(0).uniform(-1, 1, (3_001, 1)) * 20_000).astype(np.int16)
    whole = encoded(samples, 8_000, form, subtype)
    num_frames = len(samples_of(whole))
    assert num_frames >= 3_001
    try:
        cut = samples_of(whole[: data.draw(st.integers(0, len(whole)))])
    except ClipError as error:
        assert error.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)
    else:
        assert len(cut) == num_frames


def test_ima_adpcm_of_unknown_length_is_decoded_in_whole_blocks():
    whole = encoded(np.resize(SAMPLES, (20_000, 1)), 16_000, "WAV", "IMA_ADPCM")
    np.testing.assert_array_equal(samples_of(with_size(whole, "WAV", 0)), samples_of(whole))
