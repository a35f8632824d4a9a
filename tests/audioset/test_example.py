import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transforms.audioset.example import decode_example, encode_example
from transforms.audioset.labels import read_class_labels
from transforms.audioset.layout import shard_prefix
from transforms.audioset.segments import Segment, SegmentTable, parse_segments

SEGMENT = Segment("eval", "--PJHxphWEs", 30.0, 40.0, (0, 72, 526))
CODES = np.random.default_rng(0).integers(0, 256, (10, 128), np.uint8)
FLOAT32 = st.floats(width=32, allow_nan=False)
SEGMENTS = st.builds(
    Segment,
    st.just("eval"),
    st.text(min_size=1, max_size=20),
    FLOAT32,
    FLOAT32,
    st.lists(st.integers(0, 2**63 - 1), max_size=5).map(tuple),
)
FRAMES = st.integers(1, 12).map(lambda n: (n, 128))


def record_without(key: str) -> bytes:
    example = tf.train.SequenceExample.FromString(encode_example(SEGMENT, CODES))
    for features in (example.context.feature, example.feature_lists.feature_list):
        features.pop(key, None)
    return example.SerializeToString(deterministic=True)


def record_with_frames(*frames: tf.train.Feature) -> bytes:
    example = tf.train.SequenceExample.FromString(encode_example(SEGMENT, CODES))
    frame_list = example.feature_lists.feature_list["audio_embedding"]
    del frame_list.feature[:]
    frame_list.feature.extend(frames)
    return example.SerializeToString(deterministic=True)


def bytes_frame(data: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))


def float_frame(count: int) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[0.5] * count))


@given(segment=SEGMENTS, codes=FRAMES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_quantized_record_decodes_to_what_was_encoded(segment, codes):
    decoded_segment, decoded = decode_example(encode_example(segment, codes), "eval")
    assert decoded_segment == segment
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, codes)


@given(segment=SEGMENTS, values=FRAMES.flatmap(lambda shape: arrays(np.float32, shape, elements=FLOAT32)))
def test_raw_record_decodes_to_what_was_encoded(segment, values):
    decoded_segment, decoded = decode_example(encode_example(segment, values), "eval")
    assert decoded_segment == segment
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values)


def test_record_has_the_releases_structure():
    example = tf.train.SequenceExample.FromString(encode_example(SEGMENT, CODES))
    context = example.context.feature
    assert set(context) == {"video_id", "start_time_seconds", "end_time_seconds", "labels"}
    assert list(context["video_id"].bytes_list.value) == [b"--PJHxphWEs"]
    assert list(context["start_time_seconds"].float_list.value) == [30.0]
    assert list(context["end_time_seconds"].float_list.value) == [40.0]
    assert list(context["labels"].int64_list.value) == [0, 72, 526]
    assert set(example.feature_lists.feature_list) == {"audio_embedding"}
    frames = example.feature_lists.feature_list["audio_embedding"].feature
    assert [list(frame.bytes_list.value) for frame in frames] == [[row.tobytes()] for row in CODES]


def test_tensorflow_parses_a_record_as_users_do():
    context, sequences = tf.io.parse_single_sequence_example(
        encode_example(SEGMENT, CODES),
        context_features={
            "video_id": tf.io.FixedLenFeature([], tf.string),
            "start_time_seconds": tf.io.FixedLenFeature([], tf.float32),
            "end_time_seconds": tf.io.FixedLenFeature([], tf.float32),
            "labels": tf.io.VarLenFeature(tf.int64),
        },
        sequence_features={"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    assert context["video_id"] == b"--PJHxphWEs"
    assert context["labels"].values.numpy().tolist() == [0, 72, 526]
    np.testing.assert_array_equal(tf.io.decode_raw(sequences["audio_embedding"], tf.uint8), CODES)


def test_split_is_not_part_of_a_record():
    other = Segment("bal_train", SEGMENT.video_id, SEGMENT.start_s, SEGMENT.end_s, SEGMENT.labels)
    assert encode_example(other, CODES) == encode_example(SEGMENT, CODES)
    assert decode_example(encode_example(SEGMENT, CODES), "bal_train")[0] == other


def test_same_input_gives_the_same_bytes_with_keys_in_order():
    record = encode_example(SEGMENT, CODES)
    assert record == encode_example(SEGMENT, CODES.copy())
    keys = [b"end_time_seconds", b"labels", b"start_time_seconds", b"video_id", b"audio_embedding"]
    places = [record.index(key) for key in keys]
    assert places == sorted(places)


def test_memory_order_does_not_matter():
    assert encode_example(SEGMENT, np.asfortranarray(CODES)) == encode_example(SEGMENT, CODES)


def test_record_without_labels_still_has_the_key():
    unlabelled = Segment("eval", "a", 0.0, 1.0)
    example = tf.train.SequenceExample.FromString(encode_example(unlabelled, CODES))
    assert example.context.feature["labels"].WhichOneof("kind") == "int64_list"
    assert decode_example(encode_example(unlabelled, CODES), "eval")[0] == unlabelled


@pytest.mark.parametrize("record", [b"", b"no record", b"\xff" * 50, b"\x0a\x05abc"])
def test_bytes_that_are_not_a_record_are_refused(record):
    with pytest.raises(ValueError):
        decode_example(record, "eval")


@pytest.mark.parametrize(
    "key", ["video_id", "start_time_seconds", "end_time_seconds", "labels", "audio_embedding"]
)
def test_record_that_lacks_a_key_is_refused(key):
    with pytest.raises(ValueError):
        decode_example(record_without(key), "eval")


@pytest.mark.parametrize(
    "frames",
    [
        [bytes_frame(bytes(128)), bytes_frame(bytes(127))],
        [float_frame(128), float_frame(64)],
        [float_frame(128), bytes_frame(bytes(128))],
        [bytes_frame(bytes(128)), tf.train.Feature()],
        [tf.train.Feature(bytes_list=tf.train.BytesList())],
        [tf.train.Feature(int64_list=tf.train.Int64List(value=[1] * 128))],
    ],
    ids=["bytes", "floats", "mixed", "one of no kind", "no value", "integers"],
)
def test_record_with_frames_of_several_kinds_is_refused(frames):
    with pytest.raises(ValueError):
        decode_example(record_with_frames(*frames), "eval")


def test_released_records_decode_to_their_segments(shared):
    data = shared / "data"
    with open(data / "audioset" / "class_labels_indices.csv", newline="") as file:
        classes = read_class_labels(file, "classes")
    with open(data / "audioset" / "balanced_train_segments.csv", newline="") as file:
        table = SegmentTable(parse_segments(file, "bal_train", classes, "segments"))
    shards = sorted((data / "audioset_release" / "bal_train").glob("*.tfrecord"))[::200]
    assert len(shards) > 10
    for shard in shards:
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            segment, codes = decode_example(record, "bal_train")
            assert shard.stem == shard_prefix(segment.video_id)
            (row,) = table.find(segment.video_id)
            assert (segment.key, segment.labels) == (row.key, row.labels)
            # A few recordings ended a second early, and their records end there too.
            assert 0 <= row.end_s - segment.end_s < 1.001
            assert codes.dtype == np.uint8
            assert codes.shape == (round(segment.duration_s), 128)
            # The order of keys varies in the release, so messages are compared instead of bytes.
            again = tf.train.SequenceExample.FromString(encode_example(segment, codes))
            assert again == tf.train.SequenceExample.FromString(record)
