import gzip
import io
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import Pipe

from transforms.shards.stream import ByteStream

DATA = bytes(range(256)) * 400


def read_all(packed: bytes, most: int = 1 << 30) -> tuple[bytes, str]:
    stream = ByteStream(Pipe([packed], most))
    parts = []
    while part := stream.read(1000):
        parts.append(part)
    assert stream.read(10) == b"" and stream.position == sum(map(len, parts))
    return b"".join(parts), stream.damage


@given(data=st.binary(max_size=2000), sizes=st.lists(st.integers(0, 300)), most=st.integers(1, 100))
def test_a_stream_gives_what_is_asked(data, sizes, most):
    for packed in (data, gzip.compress(data)):
        stream = ByteStream(Pipe([packed], most), is_plain=lambda head, packed=packed: packed is data)
        place = 0
        for size in sizes:
            assert stream.read(size) == data[place : place + size]
            place = min(place + size, len(data))
            assert stream.position == place
        assert stream.damage == ""


def test_gzip_members_one_behind_the_other_are_one_stream():
    packed = gzip.compress(DATA) + bytes(5000) + gzip.compress(b"more") + gzip.compress(b"") + bytes(3)
    assert read_all(packed) == (DATA + b"more", "")
    assert read_all(packed, most=1) == (DATA + b"more", "")


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_gzip_of_whole_chunks_is_read_to_its_end(size):
    assert read_all(gzip.compress(bytes(size))) == (bytes(size), "")


def test_skip_says_whether_so_much_was_there():
    stream = ByteStream(io.BytesIO(DATA))
    assert stream.skip(100) and stream.read(1) == DATA[100:101]
    assert not stream.skip(len(DATA)) and stream.position == len(DATA)


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


def test_a_gzip_bomb_is_passed_over_in_little_memory():
    bomb = gzip.compress(gzip.compress(bytes(1 << 28), 9), 9)
    stream = ByteStream(io.BytesIO(gzip.decompress(bomb)))
    tracemalloc.start()
    assert stream.skip(1 << 28)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_bomb_ends_the_stream_before_it_fills_the_memory():
    size = 200_000_000
    silence = gzip.compress(bytes(size), 9)
    assert len(silence) < 250_000
    tracemalloc.start()
    stream = ByteStream(io.BytesIO(silence))
    assert stream.read(size) == b""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000
    assert "decompression bomb" in stream.damage and stream.read(10) == b""
    # In passing over it nothing is kept, and what is no bomb is read whole.
    assert ByteStream(io.BytesIO(silence)).skip(size)
    assert len(ByteStream(io.BytesIO(silence)).read(16_000_000)) == 16_000_000
    assert len(ByteStream(io.BytesIO(bytes(size))).read(size)) == size
