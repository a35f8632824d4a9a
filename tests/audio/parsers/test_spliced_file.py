import io

from hypothesis import given
from hypothesis import strategies as st

from transforms.audio.parsers.spliced_file import ByteRange, SplicedFile, patched

DATA = bytes(range(200))
PIECES = st.lists(
    st.binary(max_size=20)
    | st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda span: ByteRange(min(span), max(span))),
    max_size=6,
)


@given(
    pieces=PIECES,
    steps=st.lists(st.tuples(st.integers(-20, 700), st.sampled_from([0, 1, 2]), st.integers(0, 90))),
)
def test_a_spliced_file_reads_like_a_file_of_its_pieces(pieces, steps):
    whole = io.BytesIO(b"".join(p if isinstance(p, bytes) else DATA[p.begin : p.end] for p in pieces))
    spliced = SplicedFile(io.BytesIO(DATA), pieces)
    for offset, whence, count in steps:
        if offset + (0, whole.tell(), len(whole.getvalue()))[whence] >= 0:
            assert spliced.seek(offset, whence) == whole.seek(offset, whence)
        buffer, expected = bytearray(count), bytearray(count)
        assert spliced.readinto(buffer) == whole.readinto(expected)
        assert buffer == expected and spliced.tell() == whole.tell()


def test_a_file_with_a_hidden_length_ends_with_zeros():
    file = SplicedFile(io.BytesIO(DATA), [ByteRange(0, 200)], stated_bytes=1 << 40)
    assert file.seek(0, 2) == 1 << 40
    buffer = bytearray(b"x" * 128)
    assert file.seek(-128, 2) and file.readinto(buffer) == 128 and buffer == bytes(128)
    assert file.seek(150) == 150 and file.readinto(buffer) == 50 and file.readinto(buffer) == 0


def test_patches_replace_bytes():
    file = SplicedFile(io.BytesIO(DATA), patched(10, 100, [(20, b"ab"), (30, b"c")]))
    buffer = bytearray(90)
    assert file.readinto(buffer) == 90
    assert buffer == DATA[10:20] + b"ab" + DATA[22:30] + b"c" + DATA[31:100]
