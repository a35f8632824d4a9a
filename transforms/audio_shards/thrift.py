"""Reads integers and structs in Thrift's compact encoding, which Parquet uses for its headers and footer.

Arrow's Python class for a column chunk of the footer crashes the process if the chunk is damaged, so this
module reads them instead. It refuses ambiguous data, such as a field that occurs twice.
"""

from collections.abc import Iterator
from typing import Any

# Type codes of the encoding.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, LIST, _SET, _MAP, _STRUCT = range(1, 13)
_MAX_DEPTH = 12


class CompactError(ValueError):
    """The bytes are not in the compact encoding, or end too early."""


class Compact:
    """Reads consecutive values of `data`; `position` is that of the next one."""

    def __init__(self, data: bytes, position: int = 0):
        self.position = position
        self._data = data

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read a struct: field -> value for integers, structs and lists of structs, None for other types."""
        return {number: self.value(kind, depth) for number, kind in self.fields()}

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield (field, type) of a struct. The caller reads each value before it asks for the next field."""
        number, seen = 0, set[int]()
        while header := self.byte():
            delta = header >> 4
            number = number + delta if delta else self.integer()
            if number in seen:
                raise CompactError(f"field {number} occurs twice")
            seen.add(number)
            yield number, header & 15

    def value(self, kind: int, depth: int = 0) -> Any:
        """Read a value of a type; returns what `struct` returns for a field."""
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
            # Every list item takes at least one byte (a boolean exactly one), which bounds the count.
            if count > len(self._data) - self.position:
                raise CompactError("a list is longer than the data")
            values = [self.value(_BYTE if item in (_TRUE, _FALSE) else item, depth + 1) for _ in range(count)]
            return values if item == _STRUCT else None
        else:
            raise CompactError(f"type {kind} does not occur in Parquet")
        return None

    def list_header(self) -> tuple[int, int]:
        """Read the header of a list: (number of items, their type)."""
        header = self.byte()
        return (header >> 4 if header >> 4 < 15 else self._varint()), header & 15

    def byte(self) -> int:
        self._skip(1)
        return self._data[self.position - 1]

    def integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, size: int) -> None:
        self.position += size
        if self.position > len(self._data):
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
