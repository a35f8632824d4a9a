from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from transforms.audioset.example import decode_example
from transforms.audioset.segments import Segment
from transforms.write_features import WriteFeatures

SEGMENTS = [
    Segment("train", "abc", 0.0, 2.0),
    Segment("train", "abd", 0.0, 2.0, (4,)),
    Segment("train", "abc", 10.0, 12.0),
    Segment("train", "abc", 9.0, 11.0),
    Segment("eval", "--x", 0.0, 2.0),
    Segment("eval", "Éü1", 0.0, 2.0),
    Segment("eval", "a/../../b", 0.0, 2.0),
    Segment("eval", "q", 0.0, 2.0),
]


def frames_of(segment: Segment, dtype: str) -> np.ndarray:
    rng = np.random.default_rng([*segment.video_id.encode(), int(segment.start_s)])
    return rng.integers(0, 256, (2, 128)).astype(dtype)


def write(segments: list[Segment], output: Path, dtype: str = "uint8") -> dict[str, bytes]:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        elements = [(segment, frames_of(segment, dtype)) for segment in segments]
        _ = pipeline | beam.Create(elements) | WriteFeatures(str(output))
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*.*")}


def test_one_file_a_split_and_prefix_and_nothing_else(tmp_path):
    files = write(SEGMENTS, tmp_path)
    names = ("train/ab", "eval/--", "eval/Éü", "eval/a%2F", "eval/q")
    assert set(files) == {f"{name}.tfrecord" for name in names}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_records_read_back_in_order_of_id_and_start(tmp_path, dtype):
    write(SEGMENTS, tmp_path, dtype)
    records = tf.data.TFRecordDataset(str(tmp_path / "train" / "ab.tfrecord")).as_numpy_iterator()
    found = [decode_example(record, "train") for record in records]
    assert [(s.video_id, s.start_s) for s, _ in found] == [("abc", 0), ("abc", 9), ("abc", 10), ("abd", 0)]
    for segment, frames in found:
        assert frames.dtype == dtype
        np.testing.assert_array_equal(frames, frames_of(segment, dtype))


def test_bytes_do_not_depend_on_the_order_of_clips(tmp_path):
    assert write(SEGMENTS, tmp_path / "a") == write(SEGMENTS[::-1], tmp_path / "b")
