import datetime
import io
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import BAD, CLIPS, COLUMNS, CUT, clips, fault, faults, fields, parquet, read, reasons, shards

from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read_parquet import read_parquet

ONE = {"video_id": ["a"], "audio": [b"1"]}


@pytest.mark.parametrize("form", ["parquet", "hugging.parquet", "checked.parquet"])
def test_all_fields_are_read(form):
    items = read(*shards()[form])
    assert [item.offset for item in items] == list(range(len(CLIPS)))
    assert [fields(item) for item in items] == [fields(clip) for clip in CLIPS]
    assert [item.audio for item in items] == [clip.audio for clip in CLIPS]


def test_only_id_and_audio_are_needed_and_names_can_be_given():
    assert read("parquet", parquet(ONE)) == [ShardClip(0, "a", b"1")]
    shard = parquet({"a.id": [7], "audio/encoded": [b"1"], "s": pa.array([30.1], pa.float32()), "z": [1]})
    columns = parse_columns("video_id=a.id,audio=audio/encoded,start_time_seconds=s")
    assert read("parquet", shard, columns) == [ShardClip(0, "7", b"1", 30.1)]


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary()), pa.binary(1)],
)
def test_audio_may_have_any_binary_type(kind):
    shard = parquet({**ONE, "audio": pa.array([b"1"], pa.binary()).cast(kind)})
    assert read("parquet", shard) == [ShardClip(0, "a", b"1")]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array([3], pa.int64()), (3,)),
        (pa.array([[3, 4]], pa.list_(pa.int8())), (3, 4)),
        (pa.array([["/m/09x0r", "Dog"]], pa.large_list(pa.large_string())), ("/m/09x0r", "Dog")),
        (pa.array(["Dog"]), ("Dog",)),
        (pa.array(["Dog"]).dictionary_encode(), ("Dog",)),
        (pa.array(["Dog"], pa.string_view()), ("Dog",)),
        (pa.array([["Dog", "Cat"]], pa.list_(pa.string_view())), ("Dog", "Cat")),
        (pa.array([[0, 1]], pa.list_(pa.int32(), 2)), (0, 1)),
        (pa.array([[]], pa.list_(pa.int64())), ()),
        (pa.array([None], pa.list_(pa.int64())), ()),
    ],
)
def test_labels_are_a_list_or_a_single_value(column, labels):
    assert read("parquet", parquet({**ONE, "labels": column}))[0].labels == labels


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(23, 2)]
)
def test_times_may_have_any_numeric_type(kind):
    shard = parquet({**ONE, "start_time_seconds": pa.array([30]).cast(kind)})
    assert read("parquet", shard)[0].start_s == 30.0


@pytest.mark.parametrize(
    ("column", "message", "video_id"),
    [
        ({"video_id": [None, "b"]}, "has no video_id", None),
        ({"audio": [None, b"2"]}, "has no audio", "a"),
        ({"audio": [{"bytes": None, "path": "/d/a.wav"}, {"bytes": b"2"}]}, "only the path '/d/a.wav'", "a"),
        ({"audio": [None, {"bytes": b"2", "path": None}]}, "has no audio", "a"),
        ({"labels": [[None, 1], None]}, "labels has", "a"),
        ({"start_time_seconds": ["1", None]}, "not a number", "a"),
        ({"start_time_seconds": [datetime.timedelta(seconds=1), None]}, "not a number", "a"),
        ({"end_time_seconds": [-0.5, None]}, "not a time", "a"),
        ({"split": [3, None]}, "split is", "a"),
    ],
)
def test_a_row_that_is_not_a_clip_is_a_fault_and_the_next_one_is_read(column, message, video_id):
    bad, good = read("parquet", parquet({"video_id": ["a", "b"], "audio": [b"1", b"2"]} | column))
    assert (bad.offset, bad.reason, bad.video_id) == (0, BAD, video_id) and message in bad.message
    assert good == ShardClip(1, "b", b"2")


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ({"id": ["a"], "wav": [b"1"]}, "", "has no column video_id, audio; it has 'id', 'wav'"),
        (ONE, "labels=classes", "has no column classes; it has 'video_id', 'audio'"),
        ({**ONE, "audio": ["a.wav"]}, "", "column audio is string; it must be binary"),
        ({**ONE, "audio": [{"path": "a.wav"}]}, "", "is struct<path: string>; it must be binary"),
        ({**ONE, "audio": [[0.5, 0.25]]}, "", "it must be binary"),
        ({**ONE, "audio": [{"a\nb": 1}]}, "", "column audio is struct<a b: int64>; it must be binary"),
    ],
)
def test_a_file_without_the_columns_is_one_fault_that_lists_its_columns(table, columns, message):
    bad = fault("parquet", parquet(table), parse_columns(columns))
    assert bad.reason == BAD and message in bad.message


def test_two_columns_with_one_name_are_one_fault():
    file = io.BytesIO()
    arrays = [pa.array(["a"]), pa.array([b"1"]), pa.array([b"2"])]
    pq.write_table(pa.Table.from_arrays(arrays, ["video_id", "audio", "audio"]), file)
    assert "two columns audio" in fault("parquet", file.getvalue()).message


def test_ids_and_splits_are_text_of_any_layout():
    for kind in (
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.binary_view(),
    ):
        values = {"video_id": pa.array(["a"]).cast(kind), "split": pa.array(["eval"]).cast(kind)}
        (clip,) = read("parquet", parquet({**ONE, **values}))
        assert (clip.video_id, clip.split) == ("a", "eval")


def test_a_struct_with_views_is_read():
    audio = pa.StructArray.from_arrays(
        [pa.array([b"1"], pa.binary_view()), pa.array(["a.wav"], pa.string_view())], ["bytes", "path"]
    )
    assert read("parquet", parquet({**ONE, "audio": audio})) == [ShardClip(0, "a", b"1")]


def test_text_that_is_not_utf8_rejects_only_its_row():
    shard = parquet(
        {"video_id": ["abc", "b"], "audio": [b"1", b"2"]}, compression="none", use_dictionary=False
    )
    assert shard.count(b"\x03\x00\x00\x00abc") == 1
    bad, good = read("parquet", shard.replace(b"\x03\x00\x00\x00abc", b"\x03\x00\x00\x00a\xffc"))
    assert bad.reason == BAD and "video_id cannot be read" in bad.message and good.video_id == "b"


def test_a_file_without_rows_has_no_clips():
    empty = {"video_id": pa.array([], pa.string()), "audio": pa.array([], pa.binary())}
    assert read("parquet", parquet(empty)) == []


@pytest.mark.parametrize("form", ["hugging.parquet", "checked.parquet"])
def test_a_damaged_row_group_is_a_fault_and_the_next_one_is_read(form):
    kind, shard = shards()[form]
    whole = read(kind, shard)
    column = pq.ParquetFile(io.BytesIO(shard)).metadata.row_group(1).column(1)
    damaged = bytearray(shard)
    for place in range(column.data_page_offset, column.data_page_offset + 200):
        damaged[place] ^= 0xFF
    items = read(kind, bytes(damaged))
    assert clips(items) == whole[:2] + whole[4:]
    (bad,) = faults(items)
    assert (bad.offset, bad.reason) == (2, BAD) and "rows 2 to 3 of row group 1" in bad.message


def test_a_column_name_that_is_not_utf8_is_damage():
    shard = parquet({**ONE, "other_column": ["b"]}).replace(b"other_column", b"other_\xff\xfflumn")
    bad = fault("parquet", shard)
    assert (bad.offset, bad.reason) == (0, CUT) and "utf-8" in bad.message


def test_a_file_without_a_footer_is_one_fault():
    shard = shards()["parquet"][1]
    for cut in (0, 3, 12, len(shard) // 2, len(shard) - 1):
        bad = fault("parquet", shard[:cut])
        assert (bad.offset, bad.reason) == (0, CUT) and "footer" in bad.message
    damaged = bytearray(shard)
    damaged[-200:-8] = bytes(192)
    assert fault("parquet", bytes(damaged)).reason == CUT
    assert fault("parquet", shard[:-8] + b"\xff\xff\xff\x7fPAR1").reason == CUT


def test_columns_that_are_not_mapped_are_never_read():
    other = [bytes(1_000_000)] * 20
    shard = parquet(
        {**{k: v * 20 for k, v in ONE.items()}, "other": other}, compression="none", use_dictionary=False
    )

    class Counting(io.BytesIO):
        count = 0

        def read(self, size=-1):
            data = super().read(size)
            self.count += len(data)
            return data

    file = Counting(shard)
    assert len(clips(read_parquet(file, COLUMNS))) == 20
    assert file.count < 1_000_000 < len(shard)


def test_memory_does_not_grow_with_the_shard(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"video_id": ["a"] * 8, "audio": [bytes(1_000_000)] * 8})
    with pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(25):
            writer.write_table(table)
    del table
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    count = peak = 0
    with path.open("rb") as file:
        for item in read_parquet(file, COLUMNS):
            count += isinstance(item, ShardClip)
            peak = max(peak, pa.total_allocated_bytes() - before)
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 and peak + traced < 40_000_000 < path.stat().st_size == pytest.approx(200e6, rel=0.01)


def test_an_error_of_the_file_itself_is_not_a_fault():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() < 2000:
                raise OSError("the network is gone")
            return super().read(size)

    with pytest.raises(OSError, match="network"):
        list(read_parquet(Broken(shards()["parquet"][1]), COLUMNS))


def test_an_error_of_the_file_between_rows_is_not_a_fault():
    class Failing(io.BytesIO):
        is_gone = False

        def read(self, size=-1):
            if self.is_gone:
                raise OSError("the network is gone")
            return super().read(size)

    file = Failing(shards()["parquet"][1])
    items = read_parquet(file, COLUMNS)
    assert [next(items).video_id for _ in range(2)] == ["id0", "id1"]
    file.is_gone = True
    with pytest.raises(OSError, match="network"):
        next(items)


def test_reasons_are_in_the_order_of_rows():
    shard = parquet({"video_id": ["a", None, "c"], "audio": [b"1"] * 3})
    assert reasons(read("parquet", shard)) == [None, BAD, None]


def test_a_list_that_is_too_long_is_a_fault():
    shard = parquet({"video_id": ["a", "b"], "audio": [b"1"] * 2, "labels": [[7] * 100_001, [7] * 100_000]})
    bad, good = read("parquet", shard)
    assert bad.reason == BAD and "100001 values" in bad.message and len(good.labels) == 100_000
