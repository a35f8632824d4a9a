"""Reads clips from Parquet files, including those with the Audio feature of Hugging Face."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.audio_shards.decompress import FileForArrow
from transforms.audio_shards.items import MAX_LABELS, ShardClip, ShardFault, make_item, shortest_float32
from transforms.audio_shards.parquet_pages import Chunk, check_pages, read_chunks
from transforms.errors import Reason
from transforms.printable import counted

# Arrow streams the pages through this buffer. Without it, Arrow would load a whole column of the row group.
_BUFFER_BYTES = 1 << 20


def read_parquet(file: BinaryIO, columns: Mapping[str, str]) -> Iterator[ShardClip | ShardFault]:
    """Read a shard row by row, with one page of each column in memory. The writer chose the page size.

    Column types: `video_id` is text or integers; `audio` is binary, or a struct with `bytes`; times are any
    numbers; `labels` are integers or text, single or in a list; `split` is text. Binary and text may have any
    Arrow layout (large, view, dictionary). A null means that the field is missing. A row group with a
    decompression bomb (see `parquet_pages`) is not read.

    Args:
      file: open for reading in binary mode, and seekable.
      columns: as `parse_columns` returns.

    Yields:
      One clip per row; its offset is the row number. A `bad_record` stands for a row without id or audio, at
      that row; for all rows of a row group from the first unreadable one, at that row (reading continues with
      the next row group); or for a file without the needed columns, at 0. A file with an unreadable footer
      yields one `truncated_shard`, since only the footer locates the rows.

    Raises:
      OSError: the file itself could not be read.
    """
    watched = _WatchedFile(file)
    try:
        parquet = pq.ParquetFile(
            watched, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
        schema = parquet.schema_arrow
        fault = _schema_fault(schema, columns)
        row_counts = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    except Exception as error:  # Arrow raises many types, even a KeyError for a damaged name
        watched.raise_read_error()
        message = f"the footer cannot be read ({_cause(error)}); the shard is cut off or damaged"
        yield ShardFault(0, Reason.TRUNCATED_SHARD, message)
        return
    if fault:
        yield ShardFault(0, Reason.BAD_RECORD, fault)
        return
    present = {field: name for field, name in columns.items() if name in schema.names}
    first, chunks = 0, read_chunks(cast(BinaryIO, watched))
    for group, count in enumerate(row_counts):
        row = first
        try:
            _check_group(watched, parquet.schema, next(chunks, []), present.values())
            for batch in parquet.iter_batches(1, [group], list(present.values()), use_threads=False):
                yield _read_row(row, batch, present)
                row += 1
            cause = "" if row >= first + count else "it ends before"
        except Exception as error:
            watched.raise_read_error()
            cause = _cause(error)
        if cause:
            message = f"rows {row} to {first + count - 1} of row group {group} cannot be read ({cause})"
            yield ShardFault(row, Reason.BAD_RECORD, message)
        first += max(count, 0)


def _check_group(
    file: "_WatchedFile", schema: pq.ParquetSchema, chunks: list[Chunk], names: Iterable[str]
) -> None:
    """Raise ValueError if reading a row group could take an unbounded amount of memory."""
    if len(chunks) != len(schema):
        raise ValueError(f"it has {counted(len(chunks), 'column')}, but the schema has {len(schema)}")
    for number, chunk in enumerate(chunks):
        column = schema.column(number)
        if any(column.path == name or column.path.startswith(f"{name}.") for name in names):
            check_pages(cast(BinaryIO, file), column.path, chunk, column.max_repetition_level > 0)


def _schema_fault(schema: pa.Schema, columns: Mapping[str, str]) -> str:
    """Return why no row of a file with this schema can be a clip, or ""."""
    # A column that the user named explicitly must exist: a typo would silently drop the labels, for example.
    needed = [name for field, name in columns.items() if field in ("video_id", "audio") or field != name]
    missing = [name for name in needed if name not in schema.names]
    if missing:
        present = ", ".join(map(ascii, schema.names[:40]))
        return f"has no column {', '.join(missing)}; it has {present or 'none'}: give --columns=FIELD=COLUMN"
    repeated = [name for name in columns.values() if schema.names.count(name) > 1]
    if repeated:
        return f"has two columns {', '.join(repeated)}"
    audio = schema.field(columns["audio"]).type
    if pa.types.is_struct(audio):
        index = audio.get_field_index("bytes")
        audio = audio.field(index).type if index >= 0 else audio
    if not _is_binary(audio):
        kind = " ".join(str(audio).split())[:60]
        return f"column {columns['audio']} is {kind}; it must be binary, or a struct with bytes"
    return ""


def _is_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    variable = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return variable or pa.types.is_fixed_size_binary(kind)


def _read_row(row: int, batch: pa.RecordBatch, present: Mapping[str, str]) -> ShardClip | ShardFault:
    values: dict[str, Any] = {}
    for field, name in present.items():
        column = batch.column(name)
        try:
            value = _value(column[0])
        except Exception as error:  # such as text that is not UTF-8, or a date outside Python's range
            return ShardFault(row, Reason.BAD_RECORD, f"{name} cannot be read ({_cause(error)})")
        if isinstance(value, float) and pa.types.is_float32(column.type):
            value = shortest_float32(value)
        if field == "audio" and isinstance(value, dict):
            if value["bytes"] is None and value.get("path") is not None:
                video_id = make_item(row, values).video_id
                message = f"audio is only the path {ascii(value['path'])[:200]}; embed the file's bytes"
                return ShardFault(row, Reason.BAD_RECORD, message, video_id)
            value = value["bytes"]
        values[field] = value
    return make_item(row, values)


def _value(scalar: pa.Scalar) -> Any:
    """Convert a scalar to a Python value; of a struct, only `bytes` and `path`.

    Raises:
      ValueError: it is a list with more than MAX_LABELS values.
    """
    if isinstance(scalar, pa.StructScalar) and scalar.is_valid:
        return {name: scalar[name].as_py() for name in ("bytes", "path") if name in scalar}
    if isinstance(scalar, pa.ListScalar) and scalar.is_valid and len(scalar) > MAX_LABELS:
        raise ValueError(f"it has {len(scalar)} values, more than {MAX_LABELS}")
    return scalar.as_py()


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


class _WatchedFile(FileForArrow):
    """A file with bounded positions and lengths: damaged content can ask for any."""

    kept_errors = OSError

    def __init__(self, file: BinaryIO):
        self._file = file
        self._end = file.seek(0, 2)

    def read(self, size: int = -1) -> bytes:
        left = max(self._end - self.tell(), 0)
        return self.keep_error(self._file.read, left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self.tell(), self._end)[whence]
        if not 0 <= start + offset <= self._end:
            raise ValueError(f"byte {start + offset} is outside the file")
        return self.keep_error(self._file.seek, start + offset)

    def tell(self) -> int:
        return self.keep_error(self._file.tell)

    def seekable(self) -> bool:
        return True
