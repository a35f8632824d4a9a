import io

from hypothesis import given
from hypothesis import strategies as st

from transforms.audio.parsers import byte_window
from transforms.audio.parsers.byte_window import ByteWindow

DATA = bytes(range(200))


@given(
    end=st.integers(0, 250),
    block=st.integers(1, 40),
    reads=st.lists(st.tuples(st.integers(0, 260), st.integers(0, 30))),
)
def test_bytes_up_to_the_end_are_read_from_any_position(end, block, reads):
    before, byte_window._READ_BYTES = byte_window._READ_BYTES, max(block, 30)
    try:
        window = ByteWindow(io.BytesIO(DATA), end)
        for position, num_bytes in reads:
            assert window.read_at(position, num_bytes) == DATA[:end][position : position + num_bytes]
    finally:
        byte_window._READ_BYTES = before


def test_bytes_in_memory_are_not_read_again(monkeypatch):
    monkeypatch.setattr(byte_window, "_READ_BYTES", 50)
    file = io.BytesIO(DATA)
    window = ByteWindow(file, 200)
    assert window.read_at(10, 5) == DATA[10:15] and (window.begin, len(window.data)) == (10, 50)
    file.seek(0)
    file.write(bytes(200))
    assert window.read_at(10, 50) == DATA[10:60] and len(window.data) == 50
    assert window.read_at(20, 40) == DATA[20:60]
    # The rest of the block is kept, and the next block follows it.
    assert window.read_at(50, 20) == DATA[50:60] + bytes(10) and window.begin == 50


def test_a_file_that_is_shorter_than_stated_ends_where_its_bytes_end():
    window = ByteWindow(io.BytesIO(DATA), 1_000)
    assert window.read_at(190, 20) == DATA[190:]
    assert window.read_at(200, 1) == b"" and window.end == 200
