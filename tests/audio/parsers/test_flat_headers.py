import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surgery import APE, ID3V1, ID3V2, encoded, message_of, noise, samples_of

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
