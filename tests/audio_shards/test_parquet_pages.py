import io
import itertools
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import fault, faults, parquet, read

from transforms.audio_shards.parquet_pages import read_chunks, read_pages

ONE = {"video_id": ["a"], "audio": [b"1"]}


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_page_headers_agree_with_the_footer_and_the_values(compression, version):
    """Compare with the sums in the footer and with the values that were written."""
    audio = [random.Random(n).randbytes(90_000) for n in range(40)]
    columns = {
        "audio": audio,
        "labels": [[1, 2, n] for n in range(40)],
        "text": ["x" * 5000 * n for n in range(40)],
    }
    for statistics in (False, True):
        options = {"compression": compression, "data_page_version": version, "write_statistics": statistics}
        shard = parquet(columns, **options, data_page_size=1 << 19, write_batch_size=2, row_group_size=25)
        file = io.BytesIO(shard)
        metadata = pq.ParquetFile(file).metadata
        groups = list(read_chunks(file))
        for group, column in itertools.product(range(2), range(3)):
            chunk = metadata.row_group(group).column(column)
            pages = list(read_pages(file, groups[group][column]))
            assert sum(page.num_values for page in pages) == chunk.num_values
            assert groups[group][column].is_compressed == (compression != "none")
            headers = chunk.total_uncompressed_size - sum(page.uncompressed_bytes for page in pages)
            assert headers == chunk.total_compressed_size - sum(page.compressed_bytes for page in pages)
            assert 0 < headers < 12_000 * len(pages)


def bombs() -> dict[str, tuple[dict, dict]]:
    """Return columns and options of files of a few kB that decompress to many MB."""
    silence = bytes(60_000_000)
    labels = pa.ListArray.from_arrays([0, 20_000_000], pa.array(np.full(20_000_000, 7, np.int8)))
    return {
        "zstd": ({**ONE, "audio": [silence]}, {"compression": "zstd"}),
        "brotli, pages of version 2": (
            {**ONE, "audio": [silence]},
            {"compression": "brotli", "data_page_version": "2.0"},
        ),
        "dictionary": (
            {"video_id": ["a"] * 9, "audio": [silence[: 6_000_000 + n] for n in range(9)]},
            {"compression": "zstd"},
        ),
        "struct": ({**ONE, "audio": [{"bytes": b"1", "path": "x" * 60_000_000}]}, {"compression": "zstd"}),
        "id": ({**ONE, "video_id": ["x" * 60_000_000]}, {"compression": "zstd"}),
        "run lengths of a list": ({**ONE, "labels": labels}, {"compression": "none"}),
    }


READ_AND_MEASURE = """
import re, sys
from transforms.audio_shards.items import parse_columns
from transforms.audio_shards.read_parquet import read_parquet

def most_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1000

for path in sys.argv[1:]:
    before_mb = most_mb()
    with open(path, "rb") as file:
        (item,) = read_parquet(file, parse_columns())
    print(f"{most_mb() - before_mb:.0f} {item.reason.value} {item.message}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_bomb_takes_no_memory(tmp_path):
    paths = []
    for number, (columns, options) in enumerate(bombs().values()):
        paths.append(tmp_path / f"{number}.parquet")
        pq.write_table(pa.table(columns), paths[-1], **options)
        assert paths[-1].stat().st_size < 40_000
    child = subprocess.run([sys.executable, "-c", READ_AND_MEASURE, *paths], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    lines = child.stdout.splitlines()
    assert len(lines) == len(paths)
    for line in lines:
        megabytes, reason, message = line.split(" ", 2)
        assert int(megabytes) < 20 and reason == "bad_record" and "bomb" in message, line


def test_a_page_that_differs_from_its_header_is_not_decompressed():
    """A page with more bytes than stated is damage, and one that states far more is a bomb."""
    shard = parquet({**ONE, "audio": [bytes(3_000_000)]}, compression="zstd", use_dictionary=False)
    file = io.BytesIO(shard)
    ((_, chunk),) = read_chunks(file)
    (page,) = read_pages(file, chunk)
    said = varint(page.uncompressed_bytes)
    assert shard.count(said) == 1
    for size, message in (
        (page.uncompressed_bytes // 2, "cannot be read"),
        (page.uncompressed_bytes * 40, "decompression bomb"),
    ):
        lie = varint(size)
        assert len(lie) == len(said)
        assert message in fault("parquet", shard.replace(said, lie)).message


def varint(value: int) -> bytes:
    """Return a positive integer as Thrift encodes it in a page header."""
    value, data = value << 1, b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def test_silence_that_is_not_a_bomb_is_read():
    """It has 15 MB, or compresses to more than a hundredth of its size."""
    quiet = random.Random(0).randbytes(400_000) + bytes(30_000_000)
    for audio in (bytes(15_000_000), quiet):
        (clip,) = read("parquet", parquet({**ONE, "audio": [audio]}, compression="zstd"))
        assert clip.audio == audio


def test_a_footer_that_does_not_fit_the_schema_does_not_end_the_process():
    """Arrow's class for the metadata of a chunk ends the process if a histogram has too many levels."""
    columns = {**ONE, "labels": [[1]], "text": ["x"]}
    shard = parquet(columns)
    metadata = pq.ParquetFile(io.BytesIO(shard)).metadata
    assert metadata.num_row_groups == 1
    at = shard.rindex(b"PAR1") - 4 - metadata.serialized_size
    found = 0
    for place in range(at, len(shard) - 8):
        damaged = bytearray(shard)
        damaged[place] ^= 0x10
        found += len(faults(read("parquet", bytes(damaged)))) > 0
    assert found > 50
