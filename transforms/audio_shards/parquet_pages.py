"""Checks how large the pages of a Parquet file are when decompressed, before any of them is decompressed.

The sums in the footer can be wrong. A page header can be trusted: the reader allocates the size that it
states, and a page that does not fit is an error.

    column chunk:  header page header page ... header page
    footer:        for each row group its column chunks: start, bytes, number of values

Page headers and the footer are structs of parquet.thrift. The field numbers below are from that file.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from transforms.audio_shards.stream import BOMB_BYTES, BOMB_RATIO
from transforms.audio_shards.thrift import LIST, Compact, CompactError

_ROW_GROUPS = 4  # field of FileMetaData
_UNCOMPRESSED = 0  # value of CompressionCodec
# Page type -> field of PageHeader with the details of that type, whose field 1 is the number of values.
_DETAILS = {0: 5, 3: 8}
# A header takes about 50 bytes, more if it contains the smallest and the largest value of its page.
_HEADER_BYTES = 1 << 12
_MAX_HEADER_BYTES = 1 << 20
_MAX_INT32 = 2**31 - 1
# Limit for list columns: a few bytes of run lengths can encode any number of values, and Arrow reads all
# values of a row at once.
_MAX_LIST_VALUES = 1 << 24


class Chunk(NamedTuple):
    """The pages of one column in one row group: first byte, total bytes, and number of values."""

    start: int
    size: int
    num_values: int
    is_compressed: bool


class Page(NamedTuple):
    """A page: bytes in the file, bytes when decompressed, and number of values (0 for a dictionary)."""

    compressed_bytes: int
    uncompressed_bytes: int
    num_values: int


def read_chunks(file: BinaryIO) -> Iterator[list[Chunk]]:
    """Yield the column chunks of each row group, in the order of the schema's leaf columns.

    Raises:
      ValueError: the footer is damaged.
    """
    end = file.seek(0, 2)
    file.seek(max(end - 8, 0))
    size = int.from_bytes(file.read(4), "little")
    file.seek(max(end - 8 - size, 0))
    footer = file.read(size)
    compact = Compact(footer)
    start = None
    for number, kind in compact.fields():
        if (number, kind) == (_ROW_GROUPS, LIST):
            start = compact.position
        compact.value(kind)
    if start is None:
        raise ValueError("the footer has no row groups")
    compact = Compact(footer, start)
    for _ in range(compact.list_header()[0]):
        yield [_chunk(column.get(3)) for column in compact.struct().get(1) or []]


def check_pages(file: BinaryIO, name: str, chunk: Chunk, is_list: bool) -> None:
    """Check that no page of a column chunk decompresses to more than `ByteStream` allows.

    Args:
      file: the whole file, seekable; its position changes.
      name: the column's name.
      chunk: the column chunk.
      is_list: whether a row may have several values of the column.

    Raises:
      ValueError: a page header cannot be read; a page decompresses to over 16 MB and over a hundred times its
        size; or a list column has over 16 million values and over a hundred per byte.
    """
    if not chunk.is_compressed and not is_list:
        return
    num_bytes, num_values = 0, 0
    for page in read_pages(file, chunk):
        num_bytes += page.compressed_bytes
        num_values += page.num_values
        if page.uncompressed_bytes > max(BOMB_BYTES, BOMB_RATIO * page.compressed_bytes):
            raise ValueError(
                f"a page of {name} has {page.compressed_bytes} bytes and decompresses to "
                f"{page.uncompressed_bytes >> 20} MB: a decompression bomb, or hours of silence; "
                "give such a recording as a file"
            )
        if is_list and num_values > max(_MAX_LIST_VALUES, BOMB_RATIO * num_bytes):
            raise ValueError(
                f"{name} has more than {_MAX_LIST_VALUES} values in {num_bytes} bytes: a decompression bomb"
            )


def read_pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a column chunk that Arrow reads, in order, including the dictionary page.

    Raises:
      ValueError: a header cannot be read.
    """
    position, end = chunk.start, chunk.start + chunk.size
    num_values = 0
    while position < end and num_values < chunk.num_values:
        page, header_bytes = _read_header(file, position, end)
        yield page
        num_values += page.num_values
        position += header_bytes + page.compressed_bytes


def _chunk(column: dict[int, Any] | None) -> Chunk:
    # Fields of ColumnMetaData: codec, num_values, total_compressed_size, data_page_offset, and optionally the
    # dictionary's offset.
    values = [(column or {}).get(number, 0 if number == 11 else -1) for number in (4, 5, 7, 9, 11)]
    codec, num_values, size, start, dictionary = (v if isinstance(v, int) else -1 for v in values)
    if min(codec, num_values, size, start, dictionary) < 0:
        raise ValueError("the footer is damaged")
    start = dictionary if 0 < dictionary < start else start  # Arrow does the same
    return Chunk(start, size, num_values, codec != _UNCOMPRESSED)


def _read_header(file: BinaryIO, position: int, end: int) -> tuple[Page, int]:
    """Return the page whose header is at a position, and the header's length in bytes."""
    cause = ""
    for size in (_HEADER_BYTES, _MAX_HEADER_BYTES):
        file.seek(position)
        compact = Compact(file.read(min(size, end - position)))
        try:
            fields = compact.struct()
        except CompactError as error:
            cause = f": {error}"
            continue
        details = _DETAILS.get(fields.get(1, -1))
        num_values = 0 if details is None else (fields.get(details) or {}).get(1)
        values = [v if isinstance(v, int) else -1 for v in (fields.get(3), fields.get(2), num_values)]
        if min(values) >= 0 and max(values) <= _MAX_INT32:
            return Page(*values), compact.position
        break
    raise ValueError(f"the page header at byte {position} is damaged{cause}")
