import functools
import gzip
import io
import random
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import PACKED, Pipe, read_all

from transforms.audio_shards.stream import ByteStream

DATA = bytes(range(256)) * 400
NOISE = random.Random(0).randbytes(2_500_000)
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard"}


@functools.cache
def packed_noise(name: str) -> bytes:
    return PACKED[name](NOISE)


@given(data=st.binary(max_size=2000), sizes=st.lists(st.integers(0, 300)), most=st.integers(1, 100))
def test_a_stream_returns_the_requested_bytes(data, sizes, most):
    for packed in (data, gzip.compress(data)):
        stream = ByteStream(Pipe([packed], most), is_plain=lambda head, packed=packed: packed is data)
        place = 0
        for size in sizes:
            assert stream.read(size) == data[place : place + size]
            place = min(place + size, len(data))
            assert stream.position == place
        assert stream.damage == ""


@pytest.mark.parametrize("name", [name for name in PACKED if name != "tar"])
class TestPacked:
    """Properties of every compression."""

    def test_the_original_bytes_are_returned(self, name):
        for data in (b"", b"1", DATA, bytes(3 << 20)):
            for most in (1, 1000, 1 << 30) if len(data) < 10 else (1000, 1 << 30):
                assert read_all(PACKED[name](data), most) == (data, "")

    def test_concatenated_parts_are_one_stream(self, name):
        packed = PACKED[name](DATA) + PACKED[name](b"more") + PACKED[name](b"") + PACKED[name](b"end")
        assert read_all(packed) == (DATA + b"moreend", "")
        assert read_all(packed, most=7) == (DATA + b"moreend", "")

    def test_the_bytes_before_a_cut_are_returned(self, name):
        packed = packed_noise(name)
        for cut in (30, 1_000_000, len(packed) - 20):
            found, damage = read_all(packed[:cut])
            assert NOISE.startswith(found) and "cut off" in damage
            assert len(found) >= cut - 1_000_000, "but for a block of bzip2"

    def test_damage_ends_the_stream_with_the_cause(self, name):
        packed = packed_noise(name)
        for garbage in (
            packed[:1_200_000] + b"garbage" * 200_000 + packed[2_600_000:],
            packed + b"garbage" * 9,
        ):
            found, damage = read_all(garbage)
            assert f"the {NAMES[name]} data are damaged (" in damage and "\n" not in damage
            assert found[:800_000] == NOISE[:800_000]

    def test_a_decompression_bomb_ends_the_stream_in_bounded_memory(self, name):
        size = 60_000_000
        packed = PACKED[name](bytes(size))
        tracemalloc.start()
        stream = ByteStream(io.BytesIO(packed))
        before = pa.total_allocated_bytes()
        assert stream.read(size) == b"" and "decompression bomb" in stream.damage
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40_000_000 and pa.total_allocated_bytes() - before < 10_000_000
        assert len(ByteStream(io.BytesIO(packed)).read(16_000_000)) == 16_000_000

    def test_an_error_of_the_file_itself_is_not_damage(self, name):
        def parts():
            yield PACKED[name](DATA)[:100]
            raise ConnectionError("the network is gone")

        with pytest.raises(ConnectionError, match="network"):
            ByteStream(Pipe(parts(), 10)).read(len(DATA))

    def test_peeked_bytes_are_read_again(self, name):
        stream = ByteStream(Pipe([PACKED[name](DATA)], 100))
        for size in (0, 1, 4096, 100, 20_000, 4096):
            place = stream.position
            assert stream.peek(4096) == DATA[place : place + 4096]
            assert stream.position == place and stream.read(size) == DATA[place : place + size]


def test_skip_returns_whether_there_were_enough_bytes():
    stream = ByteStream(io.BytesIO(DATA))
    assert stream.skip(100) and stream.read(1) == DATA[100:101]
    assert not stream.skip(len(DATA)) and stream.position == len(DATA)


def test_a_gzip_bomb_is_skipped_in_little_memory():
    bomb = gzip.compress(gzip.compress(bytes(1 << 26), 9), 9)
    stream = ByteStream(io.BytesIO(gzip.decompress(bomb)))
    tracemalloc.start()
    assert stream.skip(1 << 26)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_gzip_bomb_ends_the_stream_in_bounded_memory():
    size = 100_000_000
    silence = gzip.compress(bytes(size), 9)
    assert len(silence) < 125_000
    tracemalloc.start()
    stream = ByteStream(io.BytesIO(silence))
    assert stream.read(size) == b""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000
    assert "decompression bomb" in stream.damage and stream.read(10) == b""
    # Skipped bytes are not kept, and files that are not bombs are read completely.
    assert ByteStream(io.BytesIO(silence)).skip(size)
    assert len(ByteStream(io.BytesIO(silence)).read(16_000_000)) == 16_000_000
    assert len(ByteStream(io.BytesIO(bytes(size))).read(size)) == size
