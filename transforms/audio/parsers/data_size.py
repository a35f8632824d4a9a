"""How many bytes of samples a file without compression has, where its header may lie."""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.errors import ClipError, Reason

# What programs that write to a pipe state in 32 bits: ffmpeg the largest number, others that less a header;
# SoX, arecord and others about 2 GiB.
_UNKNOWN_BYTES = (range(0xFFFFF000, 0x100000000), range(0x7FFFF000, 0x80000001))


@dataclass(frozen=True)
class DataChunk:
    """The samples of a file.

    Attributes:
      begin: place of the first one in the file.
      stated_bytes: what the header says; None where it says that they go to the end of the file.
      available_bytes: what the file has from `begin` on.
      block_bytes: of a sample in each channel, or of what a codec decodes at once; at least 1.
      is_32_bit: whether the header has 32 bits for the size, so that it may be one or wrap around.
    """

    begin: int
    stated_bytes: int | None
    available_bytes: int
    block_bytes: int
    is_32_bit: bool = True


def real_bytes(data: DataChunk, follows: Callable[[int], str | None], is_closed: bool = False) -> int:
    """Bytes of samples that are to be decoded.

    A size of 0 (a recorder that crashed), of the largest number, or of 2 GiB (a pipe) means the end of the
    file, unless a chunk follows where it says; so does one that wrapped at 4 GiB.

    Args:
      data: what the header says.
      follows: a place in the file -> "chunk" where a chunk of the format begins, "file" where another file
        does; else None.
      is_closed: whether the header says elsewhere too that nothing follows, so that what follows is no audio.

    Raises:
      ClipError: CORRUPT where whole blocks are absent, or bytes follow that nothing accounts for.
    """
    stated, available = data.stated_bytes, data.available_bytes
    if stated is None:
        return available
    is_unknown = data.is_32_bit and any(stated in sizes for sizes in _UNKNOWN_BYTES)
    if stated > available:
        if is_unknown or stated // data.block_bytes == available // data.block_bytes:
            return available
        message = f"has {available} of the {stated} bytes of samples that its header states"
        raise ClipError(Reason.CORRUPT, message)
    if _ends_at(data, stated, follows):
        return stated
    rest = available - stated
    end = data.begin + stated
    if "file" not in (follows(end), follows(end + stated % 2)):
        if is_unknown or stated == 0:
            return available
        wrapped = stated + (rest >> 32 << 32)
        if data.is_32_bit and wrapped > stated and _ends_at(data, wrapped, follows):
            return wrapped
        if is_closed:
            return stated
    raise ClipError(
        Reason.CORRUPT,
        f"has {rest} bytes after the {stated} bytes of samples that its header states, and they are no chunk",
    )


def _ends_at(data: DataChunk, num_bytes: int, follows: Callable[[int], str | None]) -> bool:
    """Whether the file ends after so many bytes of samples, or goes on with a chunk."""
    rest = data.available_bytes - num_bytes
    end = data.begin + num_bytes
    padded = num_bytes % 2 == 1 and follows(end + 1) == "chunk"
    return rest < max(2, data.block_bytes) or padded or follows(end) == "chunk"
