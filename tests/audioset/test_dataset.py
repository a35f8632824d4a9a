"""TensorFlow and `read_clips` read the clips of a feature folder exactly."""

import numpy as np
import pytest
import tensorflow as tf
from feature_clips import CLIPS, RNG, check, many, set_range, write

from transforms.audioset.dataset import load_dataset, reading
from transforms.audioset.example import encode_example
from transforms.audioset.reading import FeatureShards, read_clips
from transforms.audioset.schemas import SCHEMAS, YOUTUBE8M_SCHEMA
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.vggish.postprocess import QuantizationRange


def read_tensorflow(folder, **options) -> dict[str, dict]:
    with reading(str(folder)):
        batches = list(load_dataset(str(folder), batch_size=3, **options).as_numpy_iterator())
    clips = [
        dict(zip(batch, values, strict=True))
        for batch in batches
        for values in zip(*batch.values(), strict=True)
    ]
    return {clip["video_id"].decode(): clip for clip in clips}


def read_one_by_one(folder, raw=False, **options) -> dict[str, dict]:
    clips = read_clips(FeatureShards.find(str(folder), raw), **options)
    return {clip["video_id"]: clip for clip in clips}


READERS = pytest.mark.parametrize("read", [read_tensorflow, read_one_by_one])


@READERS
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_clips_are_those_that_were_written(read, schema, tmp_path):
    check(read(write(tmp_path, schema=schema)))


@READERS
def test_the_folder_of_a_split_can_be_read_alone(read, tmp_path):
    other = {"zz1": ((3,), RNG.integers(0, 256, (4, 128), np.uint8))}
    write(write(tmp_path), other, split="eval")
    check(read(tmp_path / "train"))
    check(read(tmp_path / "eval"), other)
    check(read(tmp_path), CLIPS | other)


@READERS
@pytest.mark.parametrize("num_frames", [1, 5, 40])
def test_clips_are_padded_and_cropped(read, num_frames, tmp_path):
    check(read(write(tmp_path), num_frames=num_frames), num_frames=num_frames)


@READERS
def test_raw_embeddings_are_not_changed(read, tmp_path):
    raw = {
        name: (labels, RNG.standard_normal(codes.shape, np.float32))
        for name, (labels, codes) in CLIPS.items()
    }
    check(read(write(tmp_path, raw), raw=True), raw)


@READERS
def test_bytes_become_the_values_that_the_run_quantized(read, tmp_path):
    check(read(set_range(write(tmp_path), -4.0, 8.0)), quantization=QuantizationRange(-4.0, 8.0))


def test_frames_can_be_loaded_as_bytes(tmp_path):
    found = read_tensorflow(write(tmp_path), dequantized=False)
    assert found["aa1"]["embeddings"].dtype == np.uint8
    np.testing.assert_array_equal(found["aa1"]["embeddings"][:3], CLIPS["aa1"][1])


@READERS
def test_frames_of_the_other_kind_give_a_one_line_error(read, tmp_path):
    write(tmp_path, {"aa1": ((0,), np.zeros((3, 128), np.float32))})
    with pytest.raises(
        SettingError, match=r"aa.tfrecord: its frames are raw, but quantized .*--postprocess=qua"
    ):
        read(tmp_path)
    write(tmp_path / "other")
    with pytest.raises(SettingError, match="its frames are quantized, but raw frames are expected"):
        read(tmp_path / "other", raw=True)


@READERS
def test_one_raw_clip_among_quantized_ones_gives_a_one_line_error(read, tmp_path):
    write(tmp_path, CLIPS | {"zz1": ((0,), np.zeros((3, 128), np.float32))})
    with pytest.raises(
        SettingError, match=r"a record .*; for details run python -m pipeline.verify"
    ) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@READERS
@pytest.mark.parametrize("label", [527, 2**40, -1])
def test_a_label_beyond_the_list_gives_a_one_line_error(read, label, tmp_path):
    write(tmp_path, CLIPS | {"zz1": ((label,), CLIPS["aa1"][1])})
    with pytest.raises(
        SettingError, match=rf"clip zz1: label {label} is beyond the list of 527 classes; give"
    ) as e:
        read(tmp_path)
    assert "\n" not in str(e.value)


@READERS
def test_the_list_may_have_other_classes(read, tmp_path):
    write(tmp_path, {"aa1": ((2,), CLIPS["aa1"][1])})
    assert read(tmp_path, num_classes=3)["aa1"]["labels"].tolist() == [0, 0, 1]
    with pytest.raises(SettingError, match="label 2 is beyond the list of 2 classes"):
        read(tmp_path, num_classes=2)


@READERS
def test_frames_of_another_size_give_a_one_line_error(read, tmp_path):
    write(tmp_path, CLIPS | {"zz1": ((0,), np.zeros((2, 127), np.uint8))})
    with pytest.raises(
        SettingError, match=r"clip zz1 has a frame that is not 128|its frames are uint8.2, 127"
    ):
        read(tmp_path)


@READERS
def test_a_damaged_shard_gives_a_one_line_error(read, tmp_path):
    path = write(tmp_path) / "train" / "ab.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SettingError, match=r"for details run python -m pipeline.verify"):
        read(tmp_path)


@READERS
@pytest.mark.parametrize("make", [lambda f: f / "nowhere", lambda f: f, lambda f: write(f, {})])
def test_a_folder_without_shards_gives_a_one_line_error(read, make, tmp_path):
    with pytest.raises(SettingError, match=r"cannot be listed|no \*.tfrecord with a record"):
        read(make(tmp_path))


def test_empty_shards_are_skipped(tmp_path):
    write(tmp_path)
    (tmp_path / "train" / "AA.tfrecord").touch()
    check(read_one_by_one(tmp_path))
    check(read_tensorflow(tmp_path))


def test_the_seed_determines_the_order_in_tensorflow(tmp_path):
    write(tmp_path, many(60))

    def orders(seed) -> list[list[bytes]]:
        dataset = load_dataset(str(tmp_path), batch_size=7, shuffle_seed=seed)
        return [[i for b in dataset.as_numpy_iterator() for i in b["video_id"]] for _ in range(2)]

    (first, second), again, other = orders(1), orders(1), orders(2)
    assert [first, second] == again and first != second and first != other[0]
    assert sorted(first) == sorted(second) == sorted(other[0]) == [f"{n:02d}x".encode() for n in range(60)]
    (plain, plain_again) = orders(None)
    assert plain == plain_again != first


def test_the_release_is_read_exactly(shared):
    folder = shared / "data" / "audioset_release" / "bal_train"
    paths = sorted(folder.glob("A*.tfrecord"))
    records = tf.data.TFRecordDataset([str(path) for path in paths]).as_numpy_iterator()
    expected = {}
    for record in records:
        example = tf.train.SequenceExample.FromString(record)
        frames = example.feature_lists.feature_list["audio_embedding"].feature
        codes = np.stack([np.frombuffer(frame.bytes_list.value[0], np.uint8) for frame in frames])
        context = example.context.feature
        labels = tuple(context["labels"].int64_list.value)
        expected[context["video_id"].bytes_list.value[0].decode()] = labels, codes
    found = read_tensorflow(folder)
    assert len(found) == 22_160
    check({name: found[name] for name in expected}, expected)


def test_the_reader_of_youtube8m_can_parse_a_record_with_its_keys():
    """Parse the features that YT8MFrameFeatureReader of google/youtube-8m parses."""
    labels, codes = CLIPS["aa1"]
    record = encode_example(Segment("train", "aa1", 30.0, 40.0, labels), codes, YOUTUBE8M_SCHEMA)
    context, lists = tf.io.parse_single_sequence_example(
        record,
        {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)},
        {"audio": tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    assert context["id"].numpy() == b"aa1" and tuple(context["labels"].values.numpy()) == labels
    np.testing.assert_array_equal(tf.io.decode_raw(lists["audio"], tf.uint8).numpy(), codes)
