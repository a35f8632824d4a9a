"""TFRecord framing: each record with its length and two checksums.

TensorFlow's and Beam's writers take a path and write as they go; a shard that must appear whole is
made first and put in place after. The format: tensorflow/core/lib/io/record_writer.h.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

HEADER_BYTES = 12
# Protobuf ends there too.
MAX_RECORD_BYTES = 1 << 31

_MASK_DELTA = 0xA282EAD8


def frame_record(record: bytes) -> Iterator[bytes]:
    """Yields the bytes of a framed record in three parts, so that a large one is not copied."""
    length = struct.pack("<Q", len(record))
    yield length + masked_crc(length)
    yield record
    yield masked_crc(record)


def frame_records(records: Iterable[bytes]) -> bytes:
    """The bytes of an uncompressed TFRecord file."""
    return b"".join(part for record in records for part in frame_record(record))


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the records of an uncompressed TFRecord file, one in memory at a time.

    Raises:
      ValueError: a checksum is wrong, a record is larger than any, or the file ends in one; what came before
        has been yielded.
    """
    offset = 0
    while header := file.read(HEADER_BYTES):
        if not is_record_header(header):
            raise ValueError(f"the record at byte {offset} has a damaged length, or the file ends in it")
        length = int.from_bytes(header[:8], "little")
        if length > MAX_RECORD_BYTES:  # a right checksum on purpose: neither read it nor make room for it
            raise ValueError(f"the record at byte {offset} says that it has {length:,} bytes")
        record, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:
            raise ValueError(f"the file ends in the record at byte {offset}")
        if checksum != masked_crc(record):
            raise ValueError(f"the record at byte {offset} is damaged: its checksum is wrong")
        yield record
        offset += HEADER_BYTES + length + 4


def is_record_header(head: bytes) -> bool:
    """Whether bytes begin with the length of a record and its checksum."""
    return len(head) >= HEADER_BYTES and head[8:HEADER_BYTES] == masked_crc(head[:8])


def masked_crc(data: bytes) -> bytes:
    """A checksum as it stands in the file: CRC-32C, rotated and shifted, little-endian."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
