import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from surgery import made

from transforms.audio.decode import open_audio
from transforms.audio.parsers.spliced_file import ByteRange, SplicedFile, patched
from transforms.errors import ClipError, Reason

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


def test_a_negative_offset_leaves_the_position_unchanged():
    file = SplicedFile(io.BytesIO(DATA), [ByteRange(0, 200)])
    assert file.seek(50) == 50
    for offset, whence in ((-1, 0), (-51, 1), (-201, 2)):
        assert file.seek(offset, whence) == file.tell() == 50
    assert file.seek(-50, 1) == 0


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_aiff_that_sends_its_decoder_before_the_start_is_not_audio(tmp_path, capfd):
    data, path = made("AIFF"), tmp_path / "a.aiff"
    path.write_bytes(data[:35] + b"\xff" * 4 + data[39:])  # the last bytes of the rate, and the next name
    with path.open("rb") as file, pytest.raises(ClipError) as caught, open_audio(file):
        pass
    assert caught.value.reason is Reason.NOT_AUDIO
    assert capfd.readouterr() == ("", "")


def test_patches_replace_bytes():
    file = SplicedFile(io.BytesIO(DATA), patched(10, 100, [(20, b"ab"), (30, b"c")]))
    buffer = bytearray(90)
    assert file.readinto(buffer) == 90
    assert buffer == DATA[10:20] + b"ab" + DATA[22:30] + b"c" + DATA[31:100]
