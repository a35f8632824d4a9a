import io
import zipfile

import pyarrow as pa
import pytest
from making import fault

from transforms.audio_shards.sniff import shard_format
from transforms.errors import Reason


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", b"1")
    return file.getvalue()


def arrow(make) -> bytes:
    file = io.BytesIO()
    table = pa.table({"audio": [{"bytes": b"1" * 5000, "path": "a.wav"}] * 3})
    with make(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "shard", "remedy"),
    [
        ("zip", zipped(), "extract it, or pack its files into a tar"),
        ("arrow", arrow(pa.ipc.new_stream), "to_parquet"),
        ("arrow", arrow(pa.ipc.new_file), "to_parquet"),
    ],
)
def test_an_unsupported_format_is_one_fault_with_the_remedy(kind, shard, remedy):
    for path in ("a", "a.wav", "gs://b/a.tar"):
        assert shard_format(path, shard[:4096]) == kind
    bad = fault(kind, shard)
    assert (bad.offset, bad.reason) == (0, Reason.UNSUPPORTED) and remedy in bad.message
