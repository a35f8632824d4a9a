import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.clips import Clip, ExistingClip
from transforms.errors import OutputError
from transforms.features.existing_records import (
    ROW,
    ExistingRecords,
    clip_rows,
    hash_values,
    read_shard_records,
    record_key,
    row_of,
)
from transforms.features.folder_shards import ShardNotes
from transforms.features.sources import UNKNOWN, Source, record_hash, sources_path, write_sources
from transforms.storage.tfrecord import frame_records

SEGMENT = Segment("train", "ab1", 1.5, 3.5, (2, 7))
RECORD = encode_example(SEGMENT, np.zeros((2, 128), np.uint8))
CLIP = Clip("train", "ab1", "s.tar", 512, 1.5, 3.5, (2, 7), audio=b"audio")


@pytest.fixture
def folder(tmp_path):
    """A shard that a run wrote, with the source of its record."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ab.tfrecord").write_bytes(frame_records([RECORD]))
    ShardNotes(str(tmp_path)).begin(["train/ab.tfrecord"])
    write_sources(sources_path(str(tmp_path), "train", "ab"), [(record_hash(RECORD), Source.of(CLIP))])
    return tmp_path


def find(folder, **changes) -> ExistingClip | None:
    clip = Clip(**{**vars(CLIP), **changes})
    return ExistingRecords(str(folder), Sharding(), ShardNotes(str(folder))).find(clip)


def test_a_clip_of_the_same_input_with_the_same_values_exists(folder):
    expected = ExistingClip("train", "ab1", 1.5, "s.tar", 512, CLIP.sha256, is_known=True)
    assert find(folder) == find(folder, end_s=None) == expected
    assert expected.sha256


@pytest.mark.parametrize(
    "changes",
    [
        *({"video_id": "ab2"}, {"start_s": 1.0}, {"end_s": 3.0}, {"labels": (2,)}, {"split": "eval"}),
        *({"offset": 0}, {"file": "other.tar"}),
    ],
    ids=str,
)
def test_a_clip_with_another_value_or_input_does_not_exist(folder, changes):
    assert find(folder, **changes) is None


def test_without_a_known_source_the_clip_exists_for_any_input(folder):
    (folder / "_run" / "sources" / "train=ab.jsonl.gz").unlink()
    found = find(folder, file="other.tar")
    assert found is not None and not found.is_known


def test_shards_of_others_and_records_of_this_run_do_not_exist(folder):
    notes = ShardNotes(str(folder))
    notes.note("train", "ab", b"")  # this run has written the shard, which was empty before
    assert find(folder) is None
    notes.begin([])
    assert find(folder) is None


def test_rows_are_sorted_by_key_and_found(folder):
    other = Segment("train", "ab2", 0.0, 1.0)
    rows = clip_rows([(SEGMENT, RECORD), (other, b"other")], {record_hash(RECORD): Source.of(CLIP)})
    assert rows["key"].tolist() == sorted(hash_values(record_key(clip)) for clip in (SEGMENT, other))
    row = row_of(rows, record_key(SEGMENT))
    assert row is not None and row["source"] == Source.of(CLIP).hash and row["end_s"] == 3.5
    assert row["labels"] == hash_values((2, 7))
    unknown = row_of(rows, record_key(other))
    assert unknown is not None and unknown["source"] == UNKNOWN
    assert row_of(rows, ("ab3", 0)) is None and row_of(np.empty(0, ROW), ("ab3", 0)) is None


def test_records_are_read_with_their_segments(folder):
    assert read_shard_records(f"{folder}/train/ab.tfrecord") == [(SEGMENT, RECORD)]
    assert read_shard_records(f"{folder}/train/none.tfrecord") == []


@pytest.mark.parametrize("data", [b"x", frame_records([b"\xff"]), frame_records([b""])])
def test_a_damaged_shard_is_an_error_with_a_remedy(folder, data):
    path = folder / "train" / "ab.tfrecord"
    path.write_bytes(data)
    with pytest.raises(OutputError, match=r"ab\.tfrecord: is damaged or cannot be read .*; remove it"):
        read_shard_records(str(path))
