import io
import struct

import numpy as np
import pytest
from surgery import SAMPLES, made, message_of, samples_of, with_size

from transforms.audio.parsers.iff_chunks import caf_link, iff_link


def aiff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return an AIFF of these chunks (name, body)."""
    body = b"".join(
        name + struct.pack(">I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"FORM" + struct.pack(">I", len(body) + 4) + b"AIFF" + body


def common(num_frames: int, channels: int = 1, bits: int = 16, kind: bytes = b"") -> tuple[bytes, bytes]:
    rate = bytes.fromhex("400cfa00000000000000")  # 16 kHz as an 80-bit float
    return b"COMM", struct.pack(">HIH", channels, num_frames, bits) + rate + kind


SOUND = (b"SSND", bytes(8) + b"\1\2\3\4")


def test_the_number_of_frames_is_that_of_the_common_chunk():
    assert iff_link(io.BytesIO(aiff(common(2), SOUND))).num_frames == 2
    padded = aiff(common(3, bits=8), (b"SSND", bytes(8) + b"\1\2\3\0"))
    assert iff_link(io.BytesIO(padded)).num_frames == 3
    np.testing.assert_array_equal(samples_of(padded)[:, 0] * 128, [1, 2, 3])


@pytest.mark.parametrize(
    ("comm", "num_frames"),
    [
        (common(1, channels=2), 1),
        (common(2, bits=12), 2),  # two bytes per sample
        (common(4, bits=16, kind=b"ulaw"), 4),  # one byte, whatever the bits of the decoded samples
        (common(4, bits=16, kind=b"ima4"), None),
        (common(9), None),  # does not fit
        ((b"COMM", bytes(17)), None),
    ],
)
def test_a_number_of_frames_that_does_not_fit_is_ignored(comm, num_frames):
    assert iff_link(io.BytesIO(aiff(comm, SOUND))).num_frames == num_frames


def test_an_offset_of_the_samples_is_skipped():
    shifted = aiff(common(1), (b"SSND", struct.pack(">II", 2, 0) + b"xx\1\2"))
    assert iff_link(io.BytesIO(shifted)).num_frames == 1


def test_a_file_without_samples_is_left_to_the_decoder():
    assert iff_link(io.BytesIO(aiff(common(1)))).pieces is None
    assert caf_link(io.BytesIO(made("CAF")[:40])).pieces is None


@pytest.mark.parametrize("stated", [0, -5])
def test_the_size_in_a_caf_is_corrected(stated):
    changed = with_size(made("CAF"), "CAF", stated)
    np.testing.assert_array_equal(samples_of(changed), SAMPLES)
    assert caf_link(io.BytesIO(made("CAF"))).pieces is None


def test_samples_that_are_missing_are_corrupt():
    assert "has 2000 of the 2002 bytes" in message_of(with_size(made("AIFF"), "AIFF", 2_002))
    assert "has 2000 of the 2004 bytes" in message_of(with_size(made("CAF"), "CAF", 2_004))
