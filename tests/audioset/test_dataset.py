"""Feature folders read back, by TensorFlow and clip by clip, must be what was written."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.audioset import reading as reading_module
from transforms.audioset.dataset import load_dataset, reading
from transforms.audioset.example import AUDIOSET_SCHEMA, SCHEMAS, YOUTUBE8M_SCHEMA, encode_example
from transforms.audioset.reading import FeatureShards, read_clips
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.storage.tfrecord import frame_records
from transforms.vggish.postprocess import dequantize

RNG = np.random.default_rng(0)
# Id -> (labels, frames): shorter than ten frames, as long, longer, and without labels.
CLIPS = {
    "aa1": ((0, 526), RNG.integers(0, 256, (3, 128), np.uint8)),
    "aa2": ((7,), RNG.integers(0, 256, (10, 128), np.uint8)),
    "ab1": ((), RNG.integers(0, 256, (1, 128), np.uint8)),
    "-c1": ((1, 2, 3), RNG.integers(0, 256, (25, 128), np.uint8)),
}


def write(folder, clips=CLIPS, split="train", schema=AUDIOSET_SCHEMA):
    """Writes each clip into the shard of its first two characters; returns the feature folder."""
    shards: dict[str, list[bytes]] = {}
    for video_id, (labels, frames) in clips.items():
        record = encode_example(Segment(split, video_id, 0.0, 30.0, labels), frames, schema)
        shards.setdefault(video_id[:2], []).append(record)
    (folder / split).mkdir(parents=True, exist_ok=True)
    (folder / "_run").mkdir(exist_ok=True)
    for name, records in shards.items():
        (folder / split / f"{name}.tfrecord").write_bytes(frame_records(records))
    return folder


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


def check(found, clips=CLIPS, num_frames=10):
    assert found.keys() == clips.keys()
    for video_id, (labels, frames) in clips.items():
        clip, kept = found[video_id], frames[:num_frames]
        assert clip["num_frames"] == len(kept)
        assert clip["embeddings"].shape == (num_frames, 128) and clip["embeddings"].dtype == np.float32
        expected = dequantize(kept) if frames.dtype == np.uint8 else kept
        np.testing.assert_array_equal(clip["embeddings"][: len(kept)], expected)
        assert not clip["embeddings"][len(kept) :].any()
        assert clip["labels"].dtype == np.float32 and tuple(np.flatnonzero(clip["labels"])) == labels
        assert set(clip["labels"]) <= {0.0, 1.0} and len(clip["labels"]) == 527


@READERS
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_clips_are_those_that_were_written(read, schema, tmp_path):
    check(read(write(tmp_path, schema=schema)))


@READERS
def test_a_splits_folder_is_read_alone(read, tmp_path):
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
def test_raw_embeddings_are_read_as_they_are(read, tmp_path):
    raw = {
        name: (labels, RNG.standard_normal(codes.shape, np.float32))
        for name, (labels, codes) in CLIPS.items()
    }
    check(read(write(tmp_path, raw), raw=True), raw)


def test_bytes_can_be_had_as_they_are(tmp_path):
    found = read_tensorflow(write(tmp_path), dequantized=False)
    assert found["aa1"]["embeddings"].dtype == np.uint8
    np.testing.assert_array_equal(found["aa1"]["embeddings"][:3], CLIPS["aa1"][1])


@READERS
def test_raw_where_quantized_is_expected_is_one_line(read, tmp_path):
    write(tmp_path, {"aa1": ((0,), np.zeros((3, 128), np.float32))})
    with pytest.raises(
        SettingError, match=r"aa.tfrecord: its frames are raw, but quantized .*--postprocess=qua"
    ):
        read(tmp_path)
    write(tmp_path / "other")
    with pytest.raises(SettingError, match="its frames are quantized, but raw frames are expected"):
        read(tmp_path / "other", raw=True)


@READERS
def test_one_raw_clip_among_quantized_ones_is_one_line(read, tmp_path):
    write(tmp_path, CLIPS | {"zz1": ((0,), np.zeros((3, 128), np.float32))})
    with pytest.raises(
        SettingError, match=r"a record .*; for details run python -m pipeline.verify"
    ) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@READERS
@pytest.mark.parametrize("label", [527, 2**40, -1])
def test_a_label_beyond_the_list_is_one_line(read, label, tmp_path):
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
def test_frames_of_another_size_are_one_line(read, tmp_path):
    write(tmp_path, CLIPS | {"zz1": ((0,), np.zeros((2, 127), np.uint8))})
    with pytest.raises(
        SettingError, match=r"clip zz1 has a frame that is not 128|its frames are uint8.2, 127"
    ):
        read(tmp_path)


@READERS
def test_a_damaged_shard_is_one_line(read, tmp_path):
    path = write(tmp_path) / "train" / "ab.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SettingError, match=r"for details run python -m pipeline.verify"):
        read(tmp_path)


@READERS
@pytest.mark.parametrize("make", [lambda f: f / "nowhere", lambda f: f, lambda f: write(f, {})])
def test_a_folder_without_shards_is_one_line(read, make, tmp_path):
    with pytest.raises(SettingError, match=r"cannot be listed|no \*.tfrecord with a record"):
        read(make(tmp_path))


def test_empty_shards_beside_others_are_passed_over(tmp_path):
    write(tmp_path)
    (tmp_path / "train" / "AA.tfrecord").touch()
    check(read_one_by_one(tmp_path))
    check(read_tensorflow(tmp_path))


def many(count: int) -> dict:
    return {f"{n:02d}x": ((n % 527,), np.full((1, 128), n % 256, np.uint8)) for n in range(count)}


def test_tensorflows_order_is_that_of_the_seed(tmp_path):
    write(tmp_path, many(60))

    def orders(seed) -> list[list[bytes]]:
        dataset = load_dataset(str(tmp_path), batch_size=7, shuffle_seed=seed)
        return [[i for b in dataset.as_numpy_iterator() for i in b["video_id"]] for _ in range(2)]

    (first, second), again, other = orders(1), orders(1), orders(2)
    assert [first, second] == again and first != second and first != other[0]
    assert sorted(first) == sorted(second) == sorted(other[0]) == [f"{n:02d}x".encode() for n in range(60)]
    (plain, plain_again) = orders(None)
    assert plain == plain_again != first


@given(st.integers(1, 5), st.integers(0, 3), st.integers(1, 40))
@settings(max_examples=10)
def test_parts_share_the_clips_and_each_pass_has_an_order(tmp_path_factory, num_parts, epoch, waiting):
    folder = tmp_path_factory.getbasetemp() / "parts"
    if not folder.exists():
        write(folder, many(30))
    shards = FeatureShards.find(str(folder))

    def order(seeds) -> list[str]:
        parts = [read_clips(shards, shuffle=seeds, part=n, num_parts=num_parts) for n in range(num_parts)]
        return [clip["video_id"] for part in parts for clip in part]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_module, "SHUFFLED_RECORDS", waiting)
        found = order((5, epoch))
        assert sorted(found) == sorted(many(30)) and found == order((5, epoch)) != order((5, epoch + 1))


def test_the_release_is_read_as_it_is(shared):
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


def test_torch_reads_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    from transforms.audioset.torch_dataset import FeatureDataset

    write(tmp_path, CLIPS | many(40))
    dataset = FeatureDataset(str(tmp_path), shuffle_seed=3)
    for num_workers in (0, 2):
        loader = torch.utils.data.DataLoader(dataset, batch_size=7, num_workers=num_workers)
        batches = list(loader)
        assert batches[0]["embeddings"].shape == (7, 10, 128) and batches[0]["labels"].dtype == torch.float32
        clips = {}
        for batch in batches:
            for number, name in enumerate(batch["video_id"]):
                assert name not in clips
                clips[name] = {key: values[number] for key, values in batch.items() if key != "video_id"}
                clips[name] = {key: value.numpy() for key, value in clips[name].items()}
        check(clips, CLIPS | many(40))
    first = [
        name for batch in torch.utils.data.DataLoader(dataset, batch_size=7) for name in batch["video_id"]
    ]
    dataset.set_epoch(1)
    second = [
        name for batch in torch.utils.data.DataLoader(dataset, batch_size=7) for name in batch["video_id"]
    ]
    assert first != second and sorted(first) == sorted(second)


def test_youtube8ms_keys_are_what_its_reader_parses():
    """The features that google/youtube-8m's YT8MFrameFeatureReader asks TensorFlow for."""
    labels, codes = CLIPS["aa1"]
    record = encode_example(Segment("train", "aa1", 30.0, 40.0, labels), codes, YOUTUBE8M_SCHEMA)
    context, lists = tf.io.parse_single_sequence_example(
        record,
        {"id": tf.io.FixedLenFeature([], tf.string), "labels": tf.io.VarLenFeature(tf.int64)},
        {"audio": tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    assert context["id"].numpy() == b"aa1" and tuple(context["labels"].values.numpy()) == labels
    np.testing.assert_array_equal(tf.io.decode_raw(lists["audio"], tf.uint8).numpy(), codes)
