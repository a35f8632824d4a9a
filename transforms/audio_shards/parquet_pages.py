"""How much the pages of a Parquet file unpack to, by their headers, before any of them is unpacked.

The footer has sums of its own, which need not be true. A page's header is: the reader makes room for the size
that it says, and a page that does not fit there is an error.

    column chunk:  header page header page ... header page
    footer:        for each row group its column chunks: where they begin, their bytes and values

Both are structs of parquet.thrift, and the numbers of fields below are its.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from transforms.audio_shards.stream import BOMB_BYTES, BOMB_RATIO
from transforms.audio_shards.thrift import LIST, Compact, CompactError

_ROW_GROUPS = 4  # of FileMetaData
_UNCOMPRESSED = 0  # of CompressionCodec
# Of PageHeader, by its type: the field whose first field is the number of values.
_DETAILS = {0: 5, 3: 8}
# A header is some 50 bytes, but may have the smallest and the largest value of its page.
_HEADER_BYTES = 1 << 12
_MAX_HEADER_BYTES = 1 << 20
_MAX_INT32 = 2**31 - 1
# Of lists: a few bytes of run lengths stand for any number of values, and all of a row are read at once.
_MAX_LIST_VALUES = 1 << 24


class Chunk(NamedTuple):
    """A column of a row group: where its pages begin, their bytes and values, and whether they are packed."""

    start: int
    size: int
    num_values: int
    is_packed: bool


class Page(NamedTuple):
    """What a page's header says: its bytes in the file and unpacked, and its values (0: a dictionary's)."""

    packed: int
    unpacked: int
    num_values: int


def read_chunks(file: BinaryIO) -> Iterator[list[Chunk]]:
    """Yields the column chunks of each row group, in the order of the schema's leaves.

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
            start = compact.place
        compact.value(kind)
    if start is None:
        raise ValueError("the footer has no row groups")
    compact = Compact(footer, start)
    for _ in range(compact.list_header()[0]):
        yield [_chunk(column.get(3)) for column in compact.struct().get(1) or []]


def check_pages(file: BinaryIO, name: str, chunk: Chunk, is_list: bool) -> None:
    """Checks that no page of a column chunk unpacks to more than a gzip shard may.

    Args:
      file: the whole file, seekable; left anywhere.
      name: the column's.
      chunk: the chunk.
      is_list: whether a row may have several values of it.

    Raises:
      ValueError: a page's header cannot be read, or a page unpacks to over 16 MB and over a hundred times its
        size, or the chunk has over 16 million values of lists and over a hundred per byte.
    """
    if not chunk.is_packed and not is_list:
        return
    packed, num_values = 0, 0
    for page in read_pages(file, chunk):
        packed += page.packed
        num_values += page.num_values
        if page.unpacked > max(BOMB_BYTES, BOMB_RATIO * page.packed):
            raise ValueError(
                f"a page of {name} unpacks to {page.unpacked >> 20} MB from {page.packed} bytes: "
                "a decompression bomb, or hours of silence; give such a recording as a file"
            )
        if is_list and num_values > max(_MAX_LIST_VALUES, BOMB_RATIO * packed):
            raise ValueError(
                f"{name} has more than {_MAX_LIST_VALUES} values in {packed} bytes: a decompression bomb"
            )


def read_pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Yields the pages of a column chunk that Arrow reads, in their order, its dictionary's too.

    Raises:
      ValueError: a header cannot be read.
    """
    place, end = chunk.start, chunk.start + chunk.size
    num_values = 0
    while place < end and num_values < chunk.num_values:
        page, header_bytes = _read_header(file, place, end)
        yield page
        num_values += page.num_values
        place += header_bytes + page.packed


def _chunk(column: dict[int, Any] | None) -> Chunk:
    column = column or {}
    values = [column.get(number) for number in (4, 5, 7, 9)]
    codec, num_values, size, start, dictionary = (
        value if isinstance(value, int) else -1 for value in (*values, column.get(11, 0))
    )
    if min(codec, num_values, size, start, dictionary) < 0:
        raise ValueError("the footer is damaged")
    start = dictionary if 0 < dictionary < start else start  # as Arrow finds it
    return Chunk(start, size, num_values, codec != _UNCOMPRESSED)


def _read_header(file: BinaryIO, place: int, end: int) -> tuple[Page, int]:
    cause = ""
    for size in (_HEADER_BYTES, _MAX_HEADER_BYTES):
        file.seek(place)
        compact = Compact(file.read(min(size, end - place)))
        try:
            fields = compact.struct()
        except CompactError as error:
            cause = f": {error}"
            continue
        details = _DETAILS.get(fields.get(1, -1))
        num_values = 0 if details is None else (fields.get(details) or {}).get(1)
        values = [v if isinstance(v, int) else -1 for v in (fields.get(3), fields.get(2), num_values)]
        if min(values) >= 0 and max(values) <= _MAX_INT32:
            return Page(*values), compact.place
        break
    raise ValueError(f"the header of a page at byte {place} is damaged{cause}")
