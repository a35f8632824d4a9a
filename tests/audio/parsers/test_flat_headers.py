import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surgery import APE, ID3V1, ID3V2, encoded, message_of, noise, samples_of

from transforms.audio.parsers.flat_headers import au_link, nist_link
from transforms.errors import ClipError, Reason

WHOLE = encoded(noise(100_000), container="FLAC")
SAMPLES = samples_of(WHOLE)


def with_total(flac: bytes, total: int) -> bytes:
    """Return the FLAC with another number of samples in STREAMINFO."""
    field = int.from_bytes(flac[21:26], "big") >> 36 << 36 | total
    return flac[:21] + field.to_bytes(5, "big") + flac[26:]


@pytest.mark.parametrize("front", [b"", ID3V2, ID3V2 + ID3V2])
@pytest.mark.parametrize("tail", [b"", ID3V1, APE, APE + ID3V1])
@pytest.mark.parametrize("total", [100_000, 0])
def test_tags_around_a_flac_are_ignored(front, tail, total):
    data = front + with_total(WHOLE, total) + tail
    np.testing.assert_array_equal(samples_of(data), SAMPLES)


def test_damage_at_the_end_is_corrupt_with_and_without_a_tag():
    for end in (WHOLE[:-1], WHOLE[:-1_000], WHOLE[:-10] + bytes(10)):
        assert message_of(end)
        assert message_of(end + ID3V1)


@pytest.mark.parametrize("more", [WHOLE, WHOLE[86:], b"abc", bytes(1_000)])
def test_a_flac_with_more_samples_than_stated_is_corrupt(more):
    assert message_of(WHOLE + more) == "has more than the 100000 frames that its header states"


def test_a_header_that_states_another_length_is_corrupt():
    assert message_of(with_total(WHOLE, 50_000)) == "has more than the 50000 frames that its header states"
    assert message_of(with_total(WHOLE, 100_001)) == "ends at frame 100000 of 100001"


@settings(max_examples=40)
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_rejected(cut):
    with pytest.raises(ClipError) as caught:
        samples_of(WHOLE[:cut])
    assert caught.value.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(("encoding", "frame_bytes"), [(1, 2), (3, 4), (4, 6), (5, 8), (7, 16)])
def test_the_size_of_an_au_of_unknown_length_is_corrected(order, encoding, frame_bytes):
    magic = b".snd" if order == ">" else b"dns."
    header = magic + struct.pack(order + "5I", 28, 0xFFFFFFFF, encoding, 8_000, 2) + b"name"
    piece, field, rest = au_link(io.BytesIO(header + bytes(5 * frame_bytes))).pieces
    assert (piece.begin, piece.end) == (0, 8) and struct.unpack(order + "I", field) == (5 * frame_bytes,)
    assert rest.end == len(header) + 5 * frame_bytes
    stated = header[:8] + field + header[12:]
    assert au_link(io.BytesIO(stated + bytes(5 * frame_bytes))).pieces is None
    with pytest.raises(ClipError, match="of samples that its header states"):
        au_link(io.BytesIO(stated + bytes(4 * frame_bytes)))


def test_an_au_of_a_compressed_codec_and_unknown_length_is_read_to_its_end():
    whole = encoded(noise(8_000, 1), 8_000, "AU", "G721_32")
    unknown = whole[:8] + b"\xff" * 4 + whole[12:]
    np.testing.assert_array_equal(samples_of(unknown), samples_of(whole))


def test_an_au_after_an_au_is_corrupt():
    header = b".snd" + struct.pack(">5I", 24, 4, 3, 8_000, 1)
    with pytest.raises(ClipError, match="has 28 bytes after the 4 bytes of samples"):
        au_link(io.BytesIO(2 * (header + bytes(4))))


def test_a_nist_file_has_the_stated_number_of_frames():
    def nist(count: int, size: int, more: bytes = b"") -> io.BytesIO:
        lines = b"sample_count -i %d\nchannel_count -i 2\nsample_n_bytes -i 2\n" % count
        return io.BytesIO((b"NIST_1A\n   1024\n" + lines + more).ljust(1_024) + bytes(size))

    assert nist_link(nist(10, 40)).num_frames == 10
    # One channel of one byte each, unless the header states another number.
    assert nist_link(io.BytesIO(b"NIST_1A\n   1024\nsample_count -i 7\n".ljust(1_031, b"\0"))).num_frames == 7
    with pytest.raises(ClipError, match="has 36 of the 40 bytes"):
        nist_link(nist(10, 36))
    with pytest.raises(ClipError, match="has 4 bytes after the 40 bytes"):
        nist_link(nist(10, 44))
    assert nist_link(nist(10, 36, b"sample_coding -s26 pcm,embedded-shorten-v2.00\n")).num_frames is None
