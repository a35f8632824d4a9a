"""Walk over the chunks of RIFF, IFF, CAF and W64 files: each begins with a name and a size in bytes."""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from transforms.errors import ClipError, Reason

# An intact header has a few chunks; a damaged one may have any number of empty ones.
_MAX_CHUNKS = 1_000
# Struct format of a size -> the offsets at which chunks begin are multiples of this.
_ALIGNMENT = {"I": 2, "q": 1, "Q": 8}


def walk_chunks(file: BinaryIO, offset: int, header: str, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, offset and size, with the file positioned after the chunk's header.

    Args:
      offset: offset of the first chunk.
      header: struct format of name and size. A size of format `Q` (W64) includes the header.

    Raises:
      ClipError: CORRUPT where the file ends inside a chunk's header; libsndfile decodes it as no samples.
    """
    header_bytes, alignment = struct.calcsize(header), _ALIGNMENT[header[-1]]
    for _ in range(_MAX_CHUNKS):
        file.seek(offset)
        head = file.read(header_bytes)
        if not head:
            return
        if len(head) < header_bytes:
            message = f"ends after {len(head)} of the {header_bytes} bytes of a chunk's header"
            raise ClipError(Reason.CORRUPT, message)
        name, num_bytes = struct.unpack(header, head)
        yield name, offset, num_bytes
        length = num_bytes if header.endswith("Q") else header_bytes + max(num_bytes, 0)
        offset += -(-length // alignment) * alignment
        if offset > size:  # it may even exceed the largest possible offset
            return


def chunk_identifier(
    file: BinaryIO, size: int, header: str, magics: tuple[bytes, ...]
) -> Callable[[int], str | None]:
    """Return a function for `actual_bytes` that identifies what begins at an offset of a file of chunks.

    A file begins with one of `magics`; the other arguments are those of `walk_chunks`.
    """

    def identify(offset: int) -> str | None:
        file.seek(offset)
        head = file.read(struct.calcsize(header))
        if head.startswith(magics):
            return "file"
        if len(head) < struct.calcsize(header) or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        _, num_bytes = struct.unpack(header, head)
        return "chunk" if 0 <= num_bytes <= size - offset - len(head) + 1 else None

    return identify
