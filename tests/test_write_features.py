from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.coders import FastPrimitivesCoder
from feature_chunks import SEGMENTS, frames_of, pieces_of

from transforms.audioset.example import decode_example
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.clips import ExistingClip
from transforms.features.folder_shards import ShardNotes
from transforms.write_features import EXISTING_CLIPS, FEATURES, WriteFeatures, pack_frames, unpack_frames


def write(
    segments: list[Segment], output: Path, dtype: str = "uint8", num_chunks: int = 2, **options
) -> dict[str, bytes]:
    elements = [chunk for segment in segments for chunk in pieces_of(segment, dtype, num_chunks=num_chunks)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(elements[::-1]) | WriteFeatures(str(output), **options)
    return {str(path.relative_to(output)): path.read_bytes() for path in output.glob("[!_]*/*")}


def test_one_file_per_split_and_prefix_and_no_others(tmp_path):
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


def test_bytes_depend_neither_on_the_order_of_clips_nor_on_their_chunks(tmp_path):
    expected = write(SEGMENTS, tmp_path / "a")
    assert write(SEGMENTS[::-1], tmp_path / "b") == expected
    assert write(SEGMENTS, tmp_path / "c", num_chunks=1) == expected
    assert write(SEGMENTS, tmp_path / "d", num_chunks=5) == expected


@pytest.mark.parametrize("num_shards", [3, 20])  # more than there are clips
def test_all_hashed_shards_exist_and_contain_every_clip_once(tmp_path, num_shards):
    sharding = Sharding(num_shards)
    notes = ShardNotes(str(tmp_path))
    files = write(SEGMENTS, tmp_path, sharding=sharding, notes=notes)
    splits, numbers = ("train", "eval"), range(num_shards)
    assert set(files) == {f"{s}/{s}-{n:05d}-of-{num_shards:05d}.tfrecord" for s in splits for n in numbers}
    found = []
    for path in tmp_path.rglob("*.tfrecord"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            segment, _ = decode_example(record, path.parent.name)
            found.append(segment)
            assert sharding.shard_name(segment.split, segment.video_id) == path.stem
    assert sorted(found, key=repr) == sorted(SEGMENTS, key=repr)
    # Adding nothing new to them leaves them as they are, the empty ones too.
    assert write(SEGMENTS[:1], tmp_path, sharding=sharding, notes=notes) == files


def test_a_numbered_shard_without_clips_is_written_again_if_a_split_has_existing_clips_only(tmp_path):
    """A killed run may not have written all empty shards, and the next one finds every clip there."""
    sharding, notes, segment = Sharding(4), ShardNotes(str(tmp_path)), SEGMENTS[0]
    files = write([segment], tmp_path, sharding=sharding, notes=notes)
    (empty, *_) = sorted(name for name, data in files.items() if not data)
    (tmp_path / empty).unlink()
    clip = ExistingClip(segment.split, segment.video_id, segment.start_s, "a.wav", None, None, True)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = {
            FEATURES: pipeline | "None" >> beam.Create([]),
            EXISTING_CLIPS: pipeline | "One" >> beam.Create([clip]),
        }
        _ = inputs | WriteFeatures(str(tmp_path), sharding, notes)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.glob("[!_]*/*")} == files.keys()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_packed_chunk_is_little_larger_than_its_frames_and_unpacks_to_the_same(dtype):
    for chunk, frames in pieces_of(SEGMENTS[1], dtype):
        encoded = FastPrimitivesCoder().encode(pack_frames(chunk, frames))
        assert len(encoded) < frames.nbytes + 100
        read_chunk, read_frames = unpack_frames(chunk.split, FastPrimitivesCoder().decode(encoded))
        assert read_chunk == chunk
        assert read_frames.dtype == frames.dtype
        np.testing.assert_array_equal(read_frames, frames)
