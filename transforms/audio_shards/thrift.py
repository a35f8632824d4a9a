"""Integers and structs in Thrift's compact encoding, which the headers and the footer of Parquet have.

Arrow's Python classes for a footer's column chunks end the process where one is damaged, so that they are
read here. What a reader could take in two ways, as a field that comes twice, is refused.
"""

from typing import Any

# Types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, LIST, _SET, _MAP, _STRUCT = range(1, 13)
_MAX_DEPTH = 12


class CompactError(ValueError):
    """The bytes are not in the encoding, or end too early."""


class Compact:
    """Reads values one behind the other.

    Args:
      data: the bytes.
      place: of the next value in them; moves as they are read.
    """

    def __init__(self, data: bytes, place: int = 0):
        self.place = place
        self._data = data

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Field -> value: integers, structs and lists of structs; of all else None."""
        fields: dict[int, Any] = {}
        for number, kind in self.fields():
            fields[number] = self.value(kind, depth)
        return fields

    def fields(self) -> "FieldIterator":
        """Yields (field, type) of a struct; each value must be read before the next."""
        return FieldIterator(self)

    def value(self, kind: int, depth: int = 0) -> Any:
        """A value of a type; as in `struct`."""
        if depth > _MAX_DEPTH:
            raise CompactError("structs are nested too deep")
        if kind in (_TRUE, _FALSE):
            return None
        if kind in (_I16, _I32, _I64):
            return self.integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_BYTE, _DOUBLE):
            self._skip(1 if kind == _BYTE else 8)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in (LIST, _SET):
            count, item = self.list_header()
            # A boolean in a list has a byte, and all else at least one: a count cannot be more than is left.
            if count > len(self._data) - self.place:
                raise CompactError("a list is longer than the data")
            values = [self.value(_BYTE if item in (_TRUE, _FALSE) else item, depth + 1) for _ in range(count)]
            return values if item == _STRUCT else None
        else:
            raise CompactError(f"type {kind} is not Parquet's")
        return None

    def list_header(self) -> tuple[int, int]:
        """(number of items, their type)."""
        header = self.byte()
        return (header >> 4 if header >> 4 < 15 else self._varint()), header & 15

    def byte(self) -> int:
        if self.place >= len(self._data):
            raise CompactError("it ends too early")
        self.place += 1
        return self._data[self.place - 1]

    def integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, size: int) -> None:
        self.place += size
        if self.place > len(self._data):
            raise CompactError("it ends too early")

    def _varint(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise CompactError("an integer is too long")


class FieldIterator:
    """The fields of a struct; see `Compact.fields`."""

    def __init__(self, compact: Compact):
        self._compact, self._number, self._seen = compact, 0, set[int]()

    def __iter__(self) -> "FieldIterator":
        return self

    def __next__(self) -> tuple[int, int]:
        header = self._compact.byte()
        if header == 0:
            raise StopIteration
        delta = header >> 4
        self._number = self._number + delta if delta else self._compact.integer()
        if self._number in self._seen:
            raise CompactError(f"field {self._number} comes twice")
        self._seen.add(self._number)
        return self._number, header & 15
