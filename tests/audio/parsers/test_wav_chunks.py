import io
import struct

import numpy as np
import pytest
from surgery import ID3V1, SAMPLES, encoded, made, samples_of, with_size

from transforms.audio.decode import open_audio
from transforms.audio.parsers.spliced_file import SplicedFile
from transforms.audio.parsers.wav_chunks import w64_link, wav_links


def corrected(data: bytes, size: int) -> bytes:
    """Return the first bytes that the decoder reads of a file."""
    (link,) = wav_links(io.BytesIO(data))
    buffer = bytearray(size)
    assert SplicedFile(io.BytesIO(data), link.pieces).readinto(buffer) == size
    return bytes(buffer)


@pytest.mark.parametrize("form", ["WAV", "RIFX", "RF64", "W64"])
def test_an_intact_file_is_passed_on_unchanged(form):
    find = (lambda file: [w64_link(file)]) if form == "W64" else wav_links
    assert [link.pieces for link in find(io.BytesIO(made(form)))] == [None]


@pytest.mark.parametrize("form", ["WAV", "RIFX", "RF64"])
def test_only_the_size_of_the_samples_is_corrected(form):
    whole = made(form)
    assert corrected(with_size(whole, form, 0), len(whole)) == whole


def test_chunks_after_the_samples_of_a_w64_are_left_out():
    tail = struct.pack("<16sQ", b"levl\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", 32) + bytes(8)
    data = made("W64") + tail
    (piece, field, rest) = w64_link(io.BytesIO(data)).pieces
    assert (piece.begin, field, rest.end) == (0, struct.pack("<Q", 2_024), len(data) - len(tail))
    np.testing.assert_array_equal(samples_of(data), SAMPLES)


def test_a_file_without_samples_is_left_to_the_decoder():
    for data in (made("WAV")[:36], made("RF64")[:40], made("W64")[:64]):
        find = w64_link if data.startswith(b"riff") else lambda file: wav_links(file)[0]
        assert find(io.BytesIO(data)).pieces is None


def test_mp3_in_a_wav_is_decoded_by_its_frames():
    mp3 = encoded(SAMPLES, container="MP3")
    fmt = struct.pack("<HHIIHH", 0x55, 1, 44_100, 16_000, 1, 0)
    header = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(mp3))
    wav = b"RIFF" + struct.pack("<I", len(header) + len(mp3)) + header + mp3
    (link,) = wav_links(io.BytesIO(wav))
    assert link.pieces[-1].begin == len(wav) - len(mp3) and link.pieces[-1].end == len(wav)


LIST = b"LIST\4\0\0\0abcd"


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
