from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from transforms.audioset.check import check_record
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment

SEGMENT = Segment("eval", "abc", 30.0, 40.0, (0, 526))
CODES = np.random.default_rng(0).integers(0, 256, (10, 128), np.uint8)


def changed(change) -> bytes:
    example = tf.train.SequenceExample.FromString(encode_example(SEGMENT, CODES))
    change(example.context.feature, example.feature_lists.feature_list)
    return example.SerializeToString(deterministic=True)


def problems_of(record: bytes) -> str:
    checked = check_record(record)
    assert checked.problems
    return "; ".join(checked.problems)


def test_a_record_as_released_has_no_problem():
    checked = check_record(encode_example(SEGMENT, CODES))
    assert checked.problems == ()
    assert checked.segment == replace(SEGMENT, split="")
    assert (checked.codes, checked.num_frames, checked.is_raw) == (CODES.tobytes(), 10, False)


def test_a_raw_record_has_no_problem():
    checked = check_record(encode_example(SEGMENT, np.zeros((3, 128), np.float32)))
    assert checked.problems == ()
    assert (checked.codes, checked.num_frames, checked.is_raw) == (b"", 3, True)


def test_a_record_without_labels_has_no_problem():
    assert check_record(encode_example(Segment("eval", "a", 0.0, 1.0), CODES)).problems == ()


def test_bytes_that_are_not_a_record_are_a_problem():
    assert "not a SequenceExample" in problems_of(b"\xff" * 50)


@pytest.mark.parametrize("key", ["video_id", "start_time_seconds", "end_time_seconds", "labels"])
def test_a_missing_context_key_is_a_problem(key):
    assert "context keys are" in problems_of(changed(lambda context, lists: context.pop(key)))


def test_an_extra_context_key_is_a_problem():
    assert "'more'" in problems_of(changed(lambda context, lists: context["more"]))


def test_a_context_value_of_another_type_is_a_problem():
    def change(context, lists):
        context["start_time_seconds"].int64_list.value.append(30)

    assert "start_time_seconds is int64_list, not float_list" in problems_of(changed(change))


def test_two_ids_are_a_problem():
    def change(context, lists):
        context["video_id"].bytes_list.value.append(b"other")

    assert "video_id does not have exactly one value" in problems_of(changed(change))


@pytest.mark.parametrize("end_s", [30.0, 20.0, float("inf"), float("nan")])
def test_an_end_before_the_start_is_a_problem(end_s):
    assert "lasts from 30.0" in problems_of(encode_example(Segment("eval", "a", 30.0, end_s), CODES))


@pytest.mark.parametrize("start_s", [-1.0, float("inf"), float("nan")])
def test_a_record_with_invalid_times_has_no_segment(start_s):
    checked = check_record(encode_example(Segment("eval", "a", start_s, 40.0), CODES))
    assert checked.segment is None and "lasts from" in checked.problems[-1]


def test_an_id_that_is_not_utf8_is_read_as_it_was_written():
    video_id = b"\xe9t\xe9".decode(errors="surrogateescape")
    segment = Segment("eval", video_id, 0.0, 1.0)
    assert check_record(encode_example(segment, CODES), split="eval").segment == segment


@pytest.mark.parametrize("labels", [(2, 1), (1, 1)])
def test_unsorted_or_repeated_labels_are_a_problem(labels):
    assert "labels" in problems_of(encode_example(Segment("eval", "a", 0.0, 1.0, labels), CODES))


@pytest.mark.parametrize("key", ["audio_embedding", "rgb"])
def test_other_feature_lists_are_a_problem(key):
    def change(context, lists):
        lists.pop("audio_embedding")
        lists[key if key == "rgb" else "none"].feature.add()

    assert "feature lists are" in problems_of(changed(change))


@pytest.mark.parametrize(
    "frames",
    [np.zeros((3, 127), np.uint8), np.zeros((2, 64), np.float32), np.full((2, 128), np.nan, np.float32)],
)
def test_frames_of_another_size_or_not_finite_are_a_problem(frames):
    assert "frame 0 has" in problems_of(encode_example(SEGMENT, frames))


def test_a_frame_of_another_kind_is_a_problem():
    def change(context, lists):
        lists["audio_embedding"].feature[4].float_list.value.extend([0.0] * 128)

    assert "frame 4 has" in problems_of(changed(change))


def test_released_records_have_no_problem(shared):
    shards = sorted((shared / "data" / "audioset_release" / "bal_train").glob("*.tfrecord"))[::100]
    assert len(shards) > 20
    for shard in shards:
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            assert check_record(record).problems == ()
