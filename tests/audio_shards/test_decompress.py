import gzip
import io
import lzma
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import PACKED, read_all

from transforms.audio_shards.decompress import (
    CHUNK_BYTES,
    DecompressError,
    compression_of,
    decompress,
    decompress_head,
)

NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard"}
DATA = bytes(range(256)) * 400


def test_concatenated_gzip_members_are_one_stream():
    packed = gzip.compress(DATA) + bytes(5000) + gzip.compress(b"more") + gzip.compress(b"") + bytes(3)
    assert read_all(packed) == (DATA + b"more", "")
    assert read_all(packed, most=1) == (DATA + b"more", "")


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_gzip_of_whole_chunks_is_read_to_its_end(size):
    assert read_all(gzip.compress(bytes(size))) == (bytes(size), "")


def test_an_xz_that_wants_more_memory_than_any_preset_is_damage():
    big = lzma.compress(DATA, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 30}])
    assert "Memory usage limit" in read_all(big)[1]


def test_skippable_zstandard_frames_are_not_damage():
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read_all(skipped + PACKED["zst"](DATA) + skipped) == (DATA, "")


def test_all_bytes_before_the_damage_are_returned():
    # Stored blocks hold the original bytes, so the position of the damage is known.
    packed = bytearray(gzip.compress(DATA, 0))
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


@pytest.mark.parametrize(("name", "compression"), [*NAMES.items(), ("tar", None)])
def test_a_compression_is_recognized_by_the_first_bytes(name, compression):
    assert compression_of(PACKED[name](b"RIFF data")) == compression
    assert compression_of(PACKED[name](b"")[:2]) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_head_of_a_file_is_decompressed_as_far_as_it_goes(name):
    data = random.Random(0).randbytes(1_000_000)  # more than a block of bzip2
    packed = PACKED[name](data)
    assert decompress_head(NAMES[name], packed[:-1_000], 5_000) == data[:5_000]
    assert decompress_head(NAMES[name], packed[:5], 5_000) == b""
    assert decompress_head(NAMES[name], PACKED[name](b"abc"), 5_000) == b"abc"


@pytest.mark.parametrize("name", NAMES)
def test_chunks_are_bounded_and_damage_has_a_cause(name):
    packed = PACKED[name](bytes(5_000_000))
    chunks = list(decompress(NAMES[name], packed[:10], io.BytesIO(packed[10:]).read))
    assert sum(map(len, chunks)) == 5_000_000 and max(map(len, chunks)) <= CHUNK_BYTES
    with pytest.raises(DecompressError, match=f"the {NAMES[name]} data are cut off"):
        list(decompress(NAMES[name], b"", io.BytesIO(packed[:-5]).read))
    with pytest.raises(DecompressError, match=f"the {NAMES[name]} data are damaged"):
        list(decompress(NAMES[name], packed + b"garbage" * 3, io.BytesIO().read))
