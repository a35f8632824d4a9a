import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import Clip
from transforms.features import record_index
from transforms.features.record_index import ROW, RecordIndex, RecordReader, decode_embeddings, hash_clip
from transforms.storage.tfrecord import frame_records

CLIP = Segment("train", "ab", 1.0, 2.0, (5,))


def test_the_first_of_several_records_is_kept_with_the_number_of_its_shard():
    shards = [np.zeros(2, ROW), np.zeros(2, ROW)]
    shards[0]["key"], shards[1]["key"] = (7, 3), (3, 9)
    shards[1]["end_s"] = 1
    index = RecordIndex.of("folder", iter(["a", "b"]), shards)
    assert index.paths == ("a", "b")
    assert index.rows[["key", "shard", "end_s"]].tolist() == [(3, 0, 0), (7, 0, 0), (9, 1, 1)]
    assert len(RecordIndex.of("folder", [], []).rows) == 0


def test_the_hash_of_a_clip_depends_on_its_split_id_and_start_in_float32():
    assert hash_clip(CLIP) == hash_clip(Clip("train", "ab", "x.wav", start_s=1.0)) < 2**64
    others = [
        Segment("eval", "ab", 1.0, 2.0),
        Segment("train", "a", 1.0, 2.0),
        Segment("train", "ab", 2.0, 3.0),
    ]
    assert len({hash_clip(clip) for clip in (CLIP, *others)}) == 4
    late = 123_456_789.123
    in_record = Segment("train", "ab", float(np.float32(late)), 2e8)
    assert hash_clip(Segment("train", "ab", late, 2e8)) == hash_clip(in_record)


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 127), np.uint8), np.full((1, 128), np.nan, np.float32)], ids=["size", "nan"]
)
def test_frames_that_are_not_embeddings_are_an_error(frames):
    with pytest.raises(ValueError, match="not valid embeddings"):
        decode_embeddings(encode_example(CLIP, frames), "train")
    segment, none = decode_embeddings(encode_example(CLIP, frames[:0]), "train")
    assert segment == CLIP and len(none) == 0


def test_records_are_read_by_position_with_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "_MAX_OPEN", 2)
    (tmp_path / "train").mkdir()
    record = encode_example(CLIP, np.full((1, 128), 9, np.uint8))
    paths = [f"{tmp_path}/train/{name}.tfrecord" for name in "abc"]
    for path in paths:
        with open(path, "wb") as file:
            file.write(frame_records([record, record]))
    with RecordReader() as reader:
        for path in (*paths, *paths):
            segment, frames = reader.read(path, len(frame_records([record])))
            assert segment == CLIP and frames.tolist() == [[9] * 128]
            assert len(reader._files) <= 2
        with pytest.raises(ValueError, match="the record at byte 5 is damaged"):
            reader.read(paths[0], 5)
        with pytest.raises(ValueError, match=r"none\.tfrecord: the record at byte 0 is damaged"):
            reader.read(f"{tmp_path}/train/none.tfrecord", 0)
        files = list(reader._files.values())
    assert files and all(file.closed for file in files)
