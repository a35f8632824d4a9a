"""TFRecord framing: stores each record with its length and two checksums.

    uint64 length   uint32 crc(length)   record   uint32 crc(record)

Source of the format: tensorflow/core/lib/io/record_writer.h. TensorFlow's and Beam's writers take a path and
write record by record. A shard here must appear complete or not at all, so it is built in memory first.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import google_crc32c

HEADER_BYTES = 12
# Protobuf has the same limit.
MAX_RECORD_BYTES = 1 << 31

_MASK_DELTA = 0xA282EAD8


class FramingError(ValueError):
    """A record's end cannot be found, so neither can the records after it.

    Attributes:
      offset: the record's first byte.
      is_length_damaged: the length is wrong or too large; otherwise the data end inside the record.
    """

    def __init__(self, offset: int, message: str, is_length_damaged: bool):
        super().__init__(message)
        self.offset, self.is_length_damaged = offset, is_length_damaged


def frame_record(record: bytes) -> Iterator[bytes]:
    """Yield the bytes of a framed record in three parts, which avoids a copy of a large record."""
    length = struct.pack("<Q", len(record))
    yield length + masked_crc(length)
    yield record
    yield masked_crc(record)


def frame_records(records: Iterable[bytes]) -> bytes:
    """Return the bytes of an uncompressed TFRecord file."""
    return b"".join(part for record in records for part in frame_record(record))


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the records of an uncompressed TFRecord file, one in memory at a time.

    Raises:
      ValueError: a checksum is wrong, a length is over 2 GiB, or the file ends inside a record. The records
        before it have been yielded.
    """
    for offset, record in scan_records(file.read):
        if record is None:
            raise ValueError(f"the record at byte {offset} is damaged: its checksum is wrong")
        yield record


def scan_records(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield (offset, record) for each record; the record is None if its checksum is wrong.

    Args:
      read: returns the next bytes, fewer than asked for only at the end.

    Raises:
      FramingError: a length is damaged or over 2 GiB, or the data end inside a record.
    """
    offset = 0
    while header := read(HEADER_BYTES):
        if len(header) < HEADER_BYTES:
            raise FramingError(offset, f"the file ends in the record at byte {offset}", False)
        if not is_record_header(header):
            raise FramingError(offset, f"the record at byte {offset} has a damaged length", True)
        length = int.from_bytes(header[:8], "little")
        if length > MAX_RECORD_BYTES:  # the checksum matches, so the file is malicious: do not allocate it
            raise FramingError(offset, f"the record at byte {offset} has a length of {length:,} bytes", True)
        record, checksum = read(length), read(4)
        if len(checksum) < 4:
            raise FramingError(offset, f"the file ends in the record at byte {offset}", False)
        yield offset, record if checksum == masked_crc(record) else None
        del record  # otherwise two records are in memory while the next one is read
        offset += HEADER_BYTES + length + 4


def is_record_header(head: bytes) -> bool:
    """Return whether the bytes begin with a record's length and its checksum."""
    return len(head) >= HEADER_BYTES and head[8:HEADER_BYTES] == masked_crc(head[:8])


def masked_crc(data: bytes) -> bytes:
    """Return a checksum in the form of the file: CRC-32C, rotated, plus a constant, little-endian."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
