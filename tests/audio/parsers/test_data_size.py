import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from surgery import ID3V1, encoded, message_of, samples_of

from transforms.audio.decode import open_audio
from transforms.errors import ClipError, Reason

SAMPLES = np.arange(1_000, dtype=np.int16)[:, np.newaxis]
LIST = b"LIST\4\0\0\0abcd"
# Chunk name; offset of the size from it; struct format of the size; bytes that it counts besides samples.
SIZES = {
    "WAV": (b"data", 4, "<I", 0),
    "RIFX": (b"data", 4, ">I", 0),
    "RF64": (b"ds64", 16, "<Q", 0),
    "W64": (b"data\xf3\xac", 16, "<Q", 24),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
    "CAF": (b"data", 4, ">q", 4),
}
every = pytest.mark.parametrize("form", SIZES)


def made(form: str, samples=SAMPLES, subtype: str = "PCM_16") -> bytes:
    if form != "RIFX":
        return encoded(samples, 16_000, form, subtype)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype, endian="BIG")
    return file.getvalue()


def with_size(data: bytes, form: str, num_bytes: int, riff_bytes: int | None = None) -> bytes:
    """Return the file with other stated lengths."""
    name, offset, kind, more = SIZES[form]
    changed = bytearray(data)
    struct.pack_into(kind, changed, data.index(name) + offset, num_bytes + more)
    if riff_bytes is not None:
        struct.pack_into("<I", changed, 4, riff_bytes)
    return bytes(changed)


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


@pytest.mark.parametrize("tail", [LIST, LIST * 3, b"id3 \3\0\0\0abc\0" + LIST, ID3V1, b"\0" * 100])
@pytest.mark.parametrize("odd", [0, 1])
def test_chunks_and_tags_after_the_samples_are_not_decoded(tail, odd):
    samples = np.arange(200, dtype=np.int16)[:, np.newaxis]
    plain = made("WAV", samples[: 101 - odd] << 8, "PCM_U8")
    np.testing.assert_array_equal(samples_of(plain + tail), samples_of(plain))
    # The same without the padding byte.
    if odd == 0 and tail.startswith(LIST):
        assert len(samples_of(plain[:-1] + tail)) == 101


def test_a_wav_without_samples_is_empty():
    empty = made("WAV", SAMPLES[:0])
    assert len(samples_of(empty)) == 0
    assert len(samples_of(empty + LIST)) == 0


def test_a_wav_whose_size_wrapped_at_4_gib_is_read_to_its_end(tmp_path):
    header = made("WAV")[:44]
    for num_bytes, tail in [((4 << 30) + 2_000, b""), ((9 << 30) + 2_000, LIST), (5 << 30, b"")]:
        path = tmp_path / "sparse.wav"
        with path.open("wb") as file:
            file.write(with_size(header, "WAV", num_bytes % 2**32, (num_bytes + 36) % 2**32))
            file.seek(44 + num_bytes - 2)
            file.write(b"\1\0" + tail)
        with path.open("rb") as file, open_audio(file) as stream:
            assert stream.num_frames == num_bytes // 2
            assert not next(stream.blocks()).any()


@pytest.mark.parametrize("form", ["WAV", "AU"])
def test_a_recording_over_4_gib_from_a_pipe_is_read_to_its_end(tmp_path, form):
    with (tmp_path / "sparse").open("wb+") as file:
        header = with_size(made(form), form, 0xFFFFFFFF)[:-2_000]
        file.write(header)
        file.truncate(len(header) + (5 << 30))
        with open_audio(file) as stream:
            assert stream.num_frames == 5 << 29


@pytest.mark.parametrize("form", ["WAV", "AIFF", "CAF", "W64", "RF64", "SVX", "AU"])
def test_a_file_that_ends_inside_its_header_is_rejected(form):
    whole = encoded(SAMPLES[:100], 8_000, form, "PCM_16")
    for size in range(4, len(whole) - SAMPLES[:100].nbytes):
        with pytest.raises(ClipError) as caught:
            samples_of(whole[:size])
        assert caught.value.reason in (Reason.CORRUPT, Reason.NOT_AUDIO), size


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


@pytest.mark.parametrize(("form", "name", "kind"), [("W64", b"fmt \xf3\xac", "<Q"), ("CAF", b"desc", ">Q")])
def test_a_chunk_that_ends_beyond_the_largest_offset_is_rejected(form, name, kind):
    changed = bytearray(made(form))
    place = changed.index(name) + (16 if form == "W64" else 4)
    struct.pack_into(kind, changed, place, 2**63 - 1)
    with pytest.raises(ClipError):
        samples_of(bytes(changed))
