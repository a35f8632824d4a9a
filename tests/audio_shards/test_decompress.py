import gzip
import lzma
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import PACKED, read_all

DATA = bytes(range(256)) * 400


def test_gzip_members_one_behind_the_other_are_one_stream():
    packed = gzip.compress(DATA) + bytes(5000) + gzip.compress(b"more") + gzip.compress(b"") + bytes(3)
    assert read_all(packed) == (DATA + b"more", "")
    assert read_all(packed, most=1) == (DATA + b"more", "")


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_gzip_of_whole_chunks_is_read_to_its_end(size):
    assert read_all(gzip.compress(bytes(size))) == (bytes(size), "")


def test_an_xz_that_wants_more_memory_than_any_preset_is_damage():
    big = lzma.compress(DATA, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 30}])
    assert "Memory usage limit" in read_all(big)[1]


def test_zstandard_frames_that_are_skipped_are_no_damage():
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read_all(skipped + PACKED["zst"](DATA) + skipped) == (DATA, "")


def test_all_before_the_damage_comes_out():
    # Stored blocks: what stands in the file is what was packed, so the place of the damage is known.
    packed = bytearray(zlib.compress(DATA, 0, wbits=31))
    packed[-8] ^= 1
    assert read_all(bytes(packed))[0] == DATA
    assert "incorrect data check" in read_all(bytes(packed))[1]
    assert read_all(bytes(packed[:5000])) == (DATA[: 5000 - 15], "the gzip data are cut off")
    garbage = gzip.compress(DATA) + b"garbage"
    assert read_all(garbage)[0] == DATA and "damaged" in read_all(garbage)[1]


@settings(max_examples=300)
@given(place=st.integers(0, 399), bit=st.integers(0, 7), most=st.sampled_from([1, 1 << 30]))
def test_a_flipped_bit_of_gzip_ends_the_stream_or_is_harmless(place, bit, most):
    packed = bytearray(gzip.compress(DATA, mtime=0))
    packed[place % len(packed)] ^= 1 << bit
    data, damage = read_all(bytes(packed), most)
    assert damage or data in (DATA, bytes(packed))
