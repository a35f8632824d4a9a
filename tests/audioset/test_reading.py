import numpy as np
import pytest
from feature_clips import CLIPS, check, many, set_range, write
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.audioset import reading as reading_module
from transforms.audioset.reading import FeatureShards, beyond_list, read_clips
from transforms.errors import SettingError
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange


def read(folder, **options) -> dict[str, dict]:
    return {clip["video_id"]: clip for clip in read_clips(FeatureShards.find(str(folder)), **options)}


def test_clips_come_in_the_order_of_shards_and_records(tmp_path):
    found = read(write(tmp_path))
    assert list(found) == ["-c1", "aa1", "aa2", "ab1"]
    check(found)


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


def test_only_shards_that_runs_wrote_are_read(tmp_path):
    folder = write(tmp_path)
    (folder / "_run" / "shards.jsonl").write_text('{"path": "train/aa.tfrecord"}\n')
    for path in (folder, folder / "train"):
        assert FeatureShards.find(str(path)).paths == (str(folder / "train" / "aa.tfrecord"),)
    (folder / "_run" / "shards.jsonl").write_text("{}\n")
    with pytest.raises(SettingError, match=r"_run/shards.jsonl, line 1: not a shard .*; restore the file"):
        FeatureShards.find(str(folder))


def test_bytes_become_the_values_that_the_run_quantized(tmp_path):
    """A run with PCA parameters of its own corpus may have another range than the release."""
    folder = set_range(write(tmp_path), -4.0, 8.0)
    for path in (folder, folder / "train"):
        assert FeatureShards.find(str(path)).quantization == QuantizationRange(-4.0, 8.0)
    check(read(folder), quantization=QuantizationRange(-4.0, 8.0))
    (folder / "_run" / "manifest.json").write_text('{"settings": {}}')  # of an older version
    assert FeatureShards.find(str(folder)).quantization == RELEASED_RANGE


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"settings": {"quantization_range": [2, -2]}}'])
def test_a_damaged_manifest_is_one_line(tmp_path, manifest):
    folder = write(tmp_path)
    (folder / "_run" / "manifest.json").write_text(manifest)
    with pytest.raises(SettingError, match=r"_run/manifest.json: cannot be read .*; restore or remove it"):
        FeatureShards.find(str(folder))


@pytest.mark.parametrize(
    ("record", "message"),
    [(b"\xff" * 50, "a record is not a SequenceExample"), (None, "contains no .*tfrecord with a record")],
)
def test_a_folder_without_features_is_one_line(tmp_path, record, message):
    from transforms.storage.tfrecord import frame_records

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "aa.tfrecord").write_bytes(frame_records([record] if record else []))
    with pytest.raises(SettingError, match=message) as caught:
        FeatureShards.find(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_kind_of_frames_is_that_of_the_first_record(tmp_path):
    raw = {"aa1": ((0,), np.zeros((3, 128), np.float32))}
    assert FeatureShards.find(str(write(tmp_path / "raw", raw)), raw=True).is_raw
    assert not FeatureShards.find(str(write(tmp_path / "bytes", CLIPS))).is_raw


def test_the_end_of_a_message_names_the_number_of_classes():
    assert "the list of 3 classes" in beyond_list(3)
