import gzip
import io
import lzma
import random
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import PACKED, Pipe

from transforms.audio_shards.stream import ByteStream

DATA = bytes(range(256)) * 400
NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard"}


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


@pytest.mark.parametrize("name", [name for name in PACKED if name != "tar"])
class TestPacked:
    """What holds of every packing."""

    def test_it_gives_what_was_packed(self, name):
        for data in (b"", b"1", DATA, bytes(3 << 20)):
            for most in (1, 1000, 1 << 30) if len(data) < 10 else (1000, 1 << 30):
                assert read_all(PACKED[name](data), most) == (data, "")

    def test_pieces_one_behind_the_other_are_one_stream(self, name):
        packed = PACKED[name](DATA) + PACKED[name](b"more") + PACKED[name](b"") + PACKED[name](b"end")
        assert read_all(packed) == (DATA + b"moreend", "")
        assert read_all(packed, most=7) == (DATA + b"moreend", "")

    def test_what_stands_before_a_cut_comes_out(self, name):
        data = random.Random(0).randbytes(2_500_000)
        packed = PACKED[name](data)
        for cut in (30, 1_000_000, len(packed) - 20):
            found, damage = read_all(packed[:cut])
            assert data.startswith(found) and "cut off" in damage
            assert len(found) >= cut - 1_000_000, "but for a block of bzip2"

    def test_damage_ends_it_with_the_cause(self, name):
        data = random.Random(0).randbytes(2_500_000)
        packed = PACKED[name](data)
        for garbage in (
            packed[:1_200_000] + b"garbage" * 200_000 + packed[2_600_000:],
            packed + b"garbage" * 9,
        ):
            found, damage = read_all(garbage)
            assert f"the {NAMES[name]} data are damaged (" in damage and "\n" not in damage
            assert found[:800_000] == data[:800_000]

    def test_a_bomb_ends_it_before_it_fills_the_memory(self, name):
        size = 100_000_000
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

    def test_what_is_looked_at_is_read_again(self, name):
        stream = ByteStream(Pipe([PACKED[name](DATA)], 100))
        for size in (0, 1, 4096, 100, 20_000, 4096):
            place = stream.position
            assert stream.peek(4096) == DATA[place : place + 4096]
            assert stream.position == place and stream.read(size) == DATA[place : place + size]


def test_an_xz_that_wants_more_memory_than_any_preset_is_damage():
    big = lzma.compress(DATA, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 30}])
    assert "Memory usage limit" in read_all(big)[1]


def test_zstandard_frames_that_are_skipped_are_no_damage():
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read_all(skipped + PACKED["zst"](DATA) + skipped) == (DATA, "")


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
