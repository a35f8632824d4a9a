import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.errors import OutputError
from transforms.read_features import QUANTIZED, RAW, find_kind, read_shard
from transforms.storage.tfrecord import frame_records


def shard(folder, *frames: np.ndarray, name: str = "ab") -> str:
    path = folder / "train" / f"{name}.tfrecord"
    path.parent.mkdir(exist_ok=True)
    records = [encode_example(Segment("train", "abc", n, n + 9.0, (n,)), own) for n, own in enumerate(frames)]
    path.write_bytes(frame_records(records))
    return str(path)


def test_records_have_their_split_and_frames(tmp_path):
    frames = np.arange(256, dtype=np.uint8).reshape(2, 128)
    (segment, read), (_, none) = read_shard(shard(tmp_path, frames, frames[:0]))
    assert segment == Segment("train", "abc", 0.0, 9.0, (0,))
    np.testing.assert_array_equal(read, frames)
    assert len(none) == 0


def test_the_kind_is_that_of_the_first_frames(tmp_path):
    none = np.empty((0, 128), np.uint8)
    empty = shard(tmp_path, none, name="em")
    assert find_kind([empty]) is None
    assert find_kind([empty, shard(tmp_path, none, np.ones((1, 128), np.uint8))]) == QUANTIZED
    assert find_kind([empty, shard(tmp_path, np.ones((1, 128), np.float32))]) == RAW


@pytest.mark.parametrize(
    "frames, fault",
    [
        (np.zeros((2, 64), np.uint8), "its frames are not valid embeddings"),
        (np.full((2, 128), np.nan, np.float32), "its frames are not valid embeddings"),
    ],
)
def test_the_message_names_records_without_features(tmp_path, frames, fault):
    path = shard(tmp_path, np.zeros((1, 128), frames.dtype), frames)
    with pytest.raises(OutputError, match=rf"ab\.tfrecord, record 1: {fault}; python -m pipeline\.verify"):
        list(read_shard(path))


def test_the_message_names_a_shard_that_ends_inside_a_record(tmp_path):
    path = shard(tmp_path, np.zeros((1, 128), np.uint8))
    with open(path, "r+b") as file:
        file.truncate(50)
    with pytest.raises(OutputError, match="record 0: the file ends in the record"):
        list(read_shard(path))
    with pytest.raises(OutputError, match="record 0"):
        list(read_shard(str(tmp_path / "train" / "no.tfrecord")))
