"""TFRecord framing of records held in memory.

TensorFlow's and Beam's writers take a path and write as they go; a shard that must appear whole is
made first and put in place after. The format: tensorflow/core/lib/io/record_writer.h.
"""

import struct
from collections.abc import Iterable

import google_crc32c

_MASK_DELTA = 0xA282EAD8


def frame_records(records: Iterable[bytes]) -> bytes:
    """The bytes of an uncompressed TFRecord file: each record with its length and two checksums."""
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, _masked_crc(length), record, _masked_crc(record)]
    return b"".join(parts)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK_DELTA) & 0xFFFFFFFF)
