"""Walk over the chunks of RIFF, IFF and CAF files: a name of four bytes and a size in bytes."""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from transforms.errors import ClipError, Reason

# An intact header has a few chunks; a damaged one may have any number of empty ones.
MAX_CHUNKS = 1_000


def walk_chunks(file: BinaryIO, offset: int, header: str, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, offset and size, with the file positioned after the chunk's header.

    Args:
      file: seekable, open in binary mode.
      offset: offset of the first chunk.
      header: struct format of name and size. Chunks with sizes of 32 bits begin at even offsets.
      size: size of the file in bytes.

    Raises:
      ClipError: CORRUPT where the file ends inside a chunk's header.
    """
    is_even = header.endswith("I")
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        head = file.read(struct.calcsize(header))
        check_header(head, struct.calcsize(header))
        if not head:
            return
        name, num_bytes = struct.unpack(header, head)
        yield name, offset, num_bytes
        offset += len(head) + max(num_bytes, 0) + (num_bytes % 2 if is_even else 0)
        if offset > size:  # it may even exceed the largest possible offset
            return


def check_header(head: bytes, num_bytes: int) -> None:
    """Check that a chunk's header is complete or absent; libsndfile decodes such a file as no samples.

    Raises:
      ClipError: CORRUPT where it has some of its bytes.
    """
    if 0 < len(head) < num_bytes:
        raise ClipError(
            Reason.CORRUPT, f"ends after {len(head)} of the {num_bytes} bytes of a chunk's header"
        )


def chunk_identifier(
    file: BinaryIO, size: int, header: str, magics: tuple[bytes, ...]
) -> Callable[[int], str | None]:
    """Return the function that tells `actual_bytes` what begins at an offset of a file of chunks.

    Args:
      file, header, size: as for `walk_chunks`.
      magics: the first bytes of a file.
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
