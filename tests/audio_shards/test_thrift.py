import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audio_shards.thrift import LIST, Compact, CompactError

I32, I64, BINARY, STRUCT = 5, 6, 8, 12


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def zigzag(value: int) -> bytes:
    return varint((value << 1) ^ (value >> 63))


def field(delta: int, kind: int, value: bytes = b"") -> bytes:
    return bytes([delta << 4 | kind]) + value


def struct_of(*fields: bytes) -> bytes:
    return b"".join(fields) + b"\0"


def list_of(kind: int, *items: bytes) -> bytes:
    size = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + varint(len(items))
    return size + b"".join(items)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_zigzag_varints(value):
    compact = Compact(b"x" + zigzag(value), 1)
    assert compact.integer() == value and compact.position == 1 + len(zigzag(value))


def test_a_struct_keeps_integers_and_structs_and_skips_other_values():
    inner = struct_of(field(1, I32, zigzag(-7)))
    data = struct_of(
        field(1, 1),  # true
        field(1, 2),  # false
        field(2, BINARY, varint(3) + b"abc"),
        field(1, 7, bytes(8)),  # a double
        field(1, 3, b"\1"),  # a byte
        field(1, I64, zigzag(1 << 40)),
        field(0, I32, zigzag(100) + zigzag(5)),  # the number of the field, as it is far from the last one
        field(1, STRUCT, inner),
        field(1, LIST, list_of(STRUCT, inner, inner)),
        field(1, LIST, list_of(I32, *[zigzag(n) for n in range(20)])),
        field(1, LIST, list_of(1, b"\1", b"\2")),  # booleans take a byte each in a list
        field(1, I32, zigzag(9)),
    )
    compact = Compact(data + b"more")
    others = dict.fromkeys((1, 2, 4, 5, 6, 103, 104))
    inner_values = {1: -7}
    expected = {7: 1 << 40, 100: 5, 101: inner_values, 102: [inner_values, inner_values], 105: 9}
    assert compact.struct() == others | expected
    assert compact.position == len(data)


def test_fields_can_be_read_one_by_one():
    compact = Compact(struct_of(field(4, LIST, list_of(STRUCT, struct_of(), struct_of()))))
    assert next(compact.fields()) == (4, LIST)
    assert compact.list_header() == (2, STRUCT)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends too early"),
        (field(1, I32), "ends too early"),
        (struct_of(field(1, BINARY, varint(4) + b"ab")), "ends too early"),
        (struct_of(field(2, I32, b"\0"), field(0, I32, zigzag(2) + b"\0")), "field 2 occurs twice"),
        (struct_of(field(1, 11)), "type 11 does not occur"),  # a map
        (struct_of(field(1, LIST, bytes([0xF5]) + varint(1 << 40))), "a list is longer than the data"),
        (struct_of(field(1, I64, b"\xff" * 10 + b"\1")), "an integer is too long"),
        (field(1, STRUCT) * 20, "nested too deep"),
        (struct_of(field(1, LIST, list_of(LIST, b"\x19") * 20)), "nested too deep"),
    ],
)
def test_ambiguous_or_incomplete_data_are_refused(data, message):
    with pytest.raises(CompactError, match=message):
        Compact(data).struct()
