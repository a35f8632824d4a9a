"""Determine the number of bytes of uncompressed samples when the header may be wrong."""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.errors import ClipError, Reason

# Sizes in 32 bits from programs that write to a pipe. ffmpeg states the largest number, and others that minus
# a header; SoX, arecord and others state about 2 GiB.
_UNKNOWN_BYTES = (range(0xFFFFF000, 0x100000000), range(0x7FFFF000, 0x80000001))


@dataclass(frozen=True)
class DataChunk:
    """The samples of a file."""

    begin: int  # offset of the first sample in the file
    stated_bytes: int | None  # size in the header; None if it states that the samples end with the file
    available_bytes: int  # bytes in the file from `begin` on
    block_bytes: int  # of one sample in all channels, or of a codec's smallest decodable block; at least 1
    is_32_bit: bool = True  # the size in the header has 32 bits: it may be a pipe's, or have wrapped around


def actual_bytes(data: DataChunk, identify: Callable[[int], str | None], is_closed: bool = False) -> int:
    """Return the number of bytes of samples to decode.

    The samples end with the file if the stated size is 0 (a recorder that crashed), the largest number, or
    2 GiB (a pipe), unless a chunk follows at the stated end. A size that wrapped at 4 GiB is corrected.

    Args:
      data: the samples as the header describes them.
      identify: returns "chunk" if a chunk of the format begins at an offset of the file, "file" if another
        file does, and else None.
      is_closed: whether another field of the header also says that nothing follows. Then any following bytes
        are not audio.

    Raises:
      ClipError: CORRUPT if whole blocks are missing, or if unexplained bytes follow.
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
    if _ends_at(data, stated, identify):
        return stated
    rest = available - stated
    end = data.begin + stated
    if "file" not in (identify(end), identify(end + stated % 2)):
        if is_unknown or stated == 0:
            return available
        wrapped = stated + (rest >> 32 << 32)
        if data.is_32_bit and wrapped > stated and _ends_at(data, wrapped, identify):
            return wrapped
        if is_closed:
            return stated
    raise ClipError(
        Reason.CORRUPT,
        f"has {rest} bytes after the {stated} bytes of samples in its header, and they are not a chunk",
    )


def _ends_at(data: DataChunk, num_bytes: int, identify: Callable[[int], str | None]) -> bool:
    """Return whether the file ends after `num_bytes` of samples, or continues with a chunk."""
    rest = data.available_bytes - num_bytes
    end = data.begin + num_bytes
    padded = num_bytes % 2 == 1 and identify(end + 1) == "chunk"
    return rest < max(2, data.block_bytes) or padded or identify(end) == "chunk"
