import io
import struct

import pytest
from surgery import SAMPLES, encoded, made, samples_of

from transforms.audio.parsers.chunks import chunk_identifier, walk_chunks
from transforms.errors import ClipError, Reason


def walked(data: bytes, header: str, offset: int = 0) -> list[tuple[bytes, int, int]]:
    return list(walk_chunks(io.BytesIO(data), offset, header, len(data)))


@pytest.mark.parametrize(
    ("header", "second"),
    [
        ("<4sI", 12 + 8 + 6),  # begins at an even offset
        (">4sq", 12 + 12 + 5),  # follows directly
    ],
)
def test_chunks_follow_each_other_at_aligned_offsets(header, second):
    first = struct.pack(header, b"one ", 5) + bytes(5)
    data = (bytes(12) + first).ljust(second, b"\0") + struct.pack(header, b"two ", 1) + b"x"
    assert walked(data, header, 12) == [(b"one ", 12, 5), (b"two ", second, 1)]


def test_sizes_of_w64_include_the_header_and_chunks_begin_at_multiples_of_8():
    first = struct.pack("<16sQ", b"a" * 16, 24 + 5) + bytes(5 + 3)
    data = first + struct.pack("<16sQ", b"b" * 16, 24)
    assert walked(data, "<16sQ") == [(b"a" * 16, 0, 29), (b"b" * 16, 32, 24)]


def test_the_file_is_positioned_after_the_header():
    file = io.BytesIO(struct.pack("<4sI", b"data", 4) + b"abcd")
    for _ in walk_chunks(file, 0, "<4sI", 12):
        assert file.read(4) == b"abcd"


@pytest.mark.parametrize("kept", [1, 7])
def test_a_file_that_ends_inside_a_header_is_corrupt(kept):
    data = struct.pack("<4sI", b"fmt ", 2) + bytes(2)
    with pytest.raises(ClipError, match=f"ends after {kept} of the 8 bytes of a chunk's header") as caught:
        walked(data + data[:kept], "<4sI")
    assert caught.value.reason is Reason.CORRUPT


def test_a_chunk_beyond_the_end_is_the_last_one():
    assert walked(struct.pack(">4sq", b"data", 2**62), ">4sq") == [(b"data", 0, 2**62)]
    assert walked(struct.pack(">4sq", b"data", -1), ">4sq") == [(b"data", 0, -1)]


def test_the_number_of_empty_chunks_is_bounded():
    assert len(walked(struct.pack("<4sI", b"JUNK", 0) * 5_000, "<4sI")) == 1_000


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (struct.pack("<4sI", b"LIST", 10), "chunk"),
        (struct.pack("<4sI", b"LIST", 11), "chunk"),  # its padding byte may be absent
        (struct.pack("<4sI", b"LIST", 12), None),
        (struct.pack("<4sI", b"LI\x7fT", 4), None),
        (struct.pack("<4sI", b"LI\x1fT", 4), None),
        (b"RIFF", "file"),
        (b"LIST\0", None),
    ],
)
def test_a_chunk_has_a_printable_name_and_fits_in_the_file(head, what):
    data = bytes(6) + (head + bytes(10) if len(head) == 8 else head)
    assert chunk_identifier(io.BytesIO(data), len(data), "<4sI", (b"RIFF",))(6) == what


@pytest.mark.parametrize("form", ["WAV", "AIFF", "CAF", "W64", "RF64", "SVX", "AU"])
def test_a_file_that_ends_inside_its_header_is_rejected(form):
    whole = encoded(SAMPLES[:100], 8_000, form, "PCM_16")
    for size in range(4, len(whole) - SAMPLES[:100].nbytes):
        with pytest.raises(ClipError) as caught:
            samples_of(whole[:size])
        assert caught.value.reason in (Reason.CORRUPT, Reason.NOT_AUDIO), size


@pytest.mark.parametrize(("form", "name", "kind"), [("W64", b"fmt \xf3\xac", "<Q"), ("CAF", b"desc", ">Q")])
def test_a_chunk_that_ends_beyond_the_largest_offset_is_rejected(form, name, kind):
    changed = bytearray(made(form))
    place = changed.index(name) + (16 if form == "W64" else 4)
    struct.pack_into(kind, changed, place, 2**63 - 1)
    with pytest.raises(ClipError):
        samples_of(bytes(changed))
