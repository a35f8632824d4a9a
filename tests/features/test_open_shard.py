import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.errors import OutputError
from transforms.features.assemble_clips import AssembledClip, Decisions
from transforms.features.existing_records import read_shard_records
from transforms.features.folder_shards import ShardNotes
from transforms.features.open_shard import OpenShard
from transforms.features.sources import Source, read_sources, record_hash, sources_path


def clip(video_id: str, file: str, value: int = 0) -> AssembledClip:
    segment = Segment("train", video_id, 0.0, 1.0)
    record = encode_example(segment, np.full((1, 128), value, np.uint8))
    return AssembledClip(ClipChunk(file, None, "train", video_id, 0.0, 0, segment), record)


def write(folder, *clips: AssembledClip, new_sources=()) -> OpenShard:
    shard = OpenShard(str(folder), "train", "ab", ShardNotes(str(folder)))
    shard.read()
    shard.written = shard.write(Decisions(list(clips), new_sources=dict(new_sources)))
    return shard


def ids(folder) -> list[tuple[str, bytes]]:
    return [(s.video_id, record) for s, record in read_shard_records(f"{folder}/train/ab.tfrecord")]


def test_new_records_are_merged_in_order_and_replace_those_of_the_same_clip(tmp_path):
    first, second, again = clip("ab2", "b.wav"), clip("ab1", "c.wav"), clip("ab2", "a.wav", 9)
    written = write(tmp_path, first).written
    assert (written.path, written.records) == ("train/ab.tfrecord", 1)
    assert ids(tmp_path) == [("ab2", first.record)]
    shard = write(tmp_path, second, again)
    data = (tmp_path / "train" / "ab.tfrecord").read_bytes()
    assert ids(tmp_path) == [("ab1", second.record), ("ab2", again.record)]
    assert (shard.written.records, shard.written.size_bytes) == (2, len(data))
    assert shard.written.to_json()["records"] == 2


def test_the_sources_before_a_run_are_known_until_it_ends(tmp_path):
    first, again = clip("ab2", "b.wav"), clip("ab2", "a.wav", 9)
    write(tmp_path, first)
    ShardNotes(str(tmp_path)).begin(["train/ab.tfrecord"])
    shard = write(tmp_path, again)
    assert shard.prior_sources([("ab2", 0), ("ab3", 0)]) == {("ab2", 0): first.source}
    # A runner repeats the work after the record was replaced: the earlier state is still known.
    repeated = write(tmp_path, again)
    assert repeated.prior_sources([("ab2", 0)]) == {("ab2", 0): first.source}
    sources = read_sources(sources_path(str(tmp_path), "train", "ab"))
    assert sources == {record_hash(c.record): c.source for c in (first, again)}


def test_a_new_source_is_stored_without_writing_the_shard(tmp_path):
    first = clip("ab1", "a.wav")
    write(tmp_path, first)
    (tmp_path / "_run" / "sources" / "train=ab.jsonl.gz").unlink()
    source = Source("/x/b.wav", -1, "b.wav")
    assert write(tmp_path, new_sources={("ab1", 0): source, ("gone", 0): source}).written is None
    assert read_sources(sources_path(str(tmp_path), "train", "ab")) == {record_hash(first.record): source}


def test_without_notes_a_shard_is_replaced(tmp_path):
    write(tmp_path, clip("ab1", "a.wav"))
    shard = OpenShard(str(tmp_path), "train", "ab", None)
    shard.read()
    assert not shard.exists() and shard.records == []
    shard.write(Decisions([clip("ab2", "b.wav")]))
    assert [video_id for video_id, _ in ids(tmp_path)] == ["ab2"]


def test_a_file_of_another_program_is_not_touched(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ab.tfrecord").write_bytes(b"precious")
    with pytest.raises(OutputError, match="no run wrote this file"):
        write(tmp_path, clip("ab1", "a.wav"))
    assert (tmp_path / "train" / "ab.tfrecord").read_bytes() == b"precious"


def test_an_empty_shard_is_written_only_if_it_does_not_exist(tmp_path):
    written = write(tmp_path).written
    assert written.records == 0 and (tmp_path / "train" / "ab.tfrecord").read_bytes() == b""
