"""What is found in a feature folder, record by record and as a whole."""

import json

import numpy as np
import pytest
from folders import FRAMES, record

from pipeline.verify import verify_folder
from transforms.audioset.layout import Sharding
from transforms.errors import SettingError
from transforms.example_protos import SequenceExample


def changed(change) -> bytes:
    example = SequenceExample.FromString(record())
    change(example.context.feature, example.feature_lists.feature_list)
    return example.SerializeToString(deterministic=True)


def test_the_summary_of_a_good_folder(folder):
    folder(record("abc"), record("abd", 10.0, 13.0, ()))
    summary = verify_folder(str(folder(record("x"), shard="eval/x")), strict=True)
    assert summary.problems == []
    assert summary.clips == {"train": 2, "eval": 1}
    assert (summary.frames, summary.duration_s, summary.kinds) == (9, 9.0, {"quantized": 3})
    assert (summary.bytes_total, summary.bytes_at_0, summary.bytes_at_255) == (1152, 6, 3)


@pytest.mark.parametrize(
    "bad, problem",
    [
        (b"no record", "not a SequenceExample"),
        (changed(lambda c, f: c.pop("labels")), "context keys are"),
        (changed(lambda c, f: c["extra"].int64_list.value.append(1)), "context keys are"),
        (changed(lambda c, f: c["video_id"].int64_list.value.append(1)), "video_id is int64_list"),
        (
            changed(lambda c, f: c["video_id"].bytes_list.value.append(b"")),
            "video_id does not have exactly one value",
        ),
        (changed(lambda c, f: f.pop("audio_embedding")), "feature lists are []"),
        (changed(lambda c, f: f["rgb"].feature.add()), "feature lists are"),
        (
            changed(lambda c, f: f["audio_embedding"].feature.add().bytes_list.value.append(b"x" * 127)),
            "frame 3 has bytes [127], not [128]",
        ),
        (record(frames=FRAMES[:0]), "has 0 frames"),
        (record(frames=np.tile(FRAMES, (2, 1))), "has 6 frames; 3.000 s allow 1 to 3"),
        (record(start_s=3.0), "lasts from 3.0 to 3.0 s"),
        (record(labels=(2, 1)), "labels are not sorted"),
        (record("xyz"), "'xyz' belongs in xy.tfrecord"),
        (record(frames=FRAMES.astype(np.float32) * np.nan), "not 128 finite ones"),
    ],
)
def test_each_problem_names_its_record(folder, bad, problem):
    summary = verify_folder(str(folder(record(), bad)))
    assert any(problem in found and "ab.tfrecord, record 1" in found for found in summary.problems)


def test_clips_that_occur_twice_are_found(folder):
    (problem,) = verify_folder(str(folder(record(), record("abd"), record()))).problems
    assert "'abc' at 0.0 s occurs 2 times" in problem


def test_the_order_is_checked_only_if_strict(folder):
    path = str(folder(record("abd"), record("abc")))
    assert verify_folder(path).problems == []
    assert "not in order" in verify_folder(path, strict=True).problems[0]


@pytest.mark.parametrize("damage", ["flip", "cut", "garbage"])
def test_damaged_files_are_found(folder, damage):
    path = folder(record("abc"), record("abd")) / "train" / "ab.tfrecord"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-30] ^= 1
    path.write_bytes({"flip": data, "cut": data[:-5], "garbage": b"x" * 100}[damage])
    assert verify_folder(str(path.parents[1])).problems


def test_raw_and_quantized_do_not_mix(folder):
    path = str(folder(record(), record("abd", frames=FRAMES.astype(np.float32))))
    assert any("quantized and raw" in problem for problem in verify_folder(path).problems)


def test_a_split_that_no_run_writes_is_found(folder):
    assert any("split" in problem for problem in verify_folder(str(folder(record(), shard="_x/ab"))).problems)


def manifest(folder, clips) -> None:
    (folder / "_run").mkdir(exist_ok=True)
    text = json.dumps({"settings": {"example_hop_seconds": 0.96}, "clips": clips})
    (folder / "_run" / "manifest.json").write_text(text)


def test_clips_missing_by_the_manifest_are_found(folder):
    path = folder(record())
    manifest(path, {"train": 2, "eval": 1})
    assert verify_folder(str(path)).problems == [
        f"{path}: clips of eval: 1 in the manifest, but 0 in the shards",
        f"{path}: clips of train: 2 in the manifest, but 1 in the shards",
    ]


def test_a_run_that_did_not_finish_is_noted(folder):
    path = folder(record())
    manifest(path, None)
    summary = verify_folder(str(path))
    assert summary.problems == [] and "did not finish" in summary.notes[0]


def test_a_manifest_of_something_else_is_a_mistake(folder):
    path = folder(record())
    (path / "_run").mkdir()
    for text in ('{"settings": {"example_hop_seconds": "x"}}', "[]", "{"):
        (path / "_run" / "manifest.json").write_text(text)
        with pytest.raises(SettingError, match=r"manifest\.json: cannot be read"):
            verify_folder(str(path))


def test_numbered_shards_are_complete_and_of_one_number(folder):
    whole = [(name, Sharding(3)) for name in Sharding(3).all_names("train")]
    for name, sharding in whole:
        ids = [f"id{n}" for n in range(9) if sharding.shard_name("train", f"id{n}") == name]
        path = folder(*map(record, ids), shard=f"train/{name}")
    assert verify_folder(str(path)).problems == []
    (path / "train" / "train-00001-of-00003.tfrecord").unlink()
    assert verify_folder(str(path)).problems == [f"{path}: train/train-00001-of-00003.tfrecord is missing"]
    problems = verify_folder(str(folder(record()))).problems
    assert "sharded in several ways (audioset, hash:3)" in problems[0]


def test_folders_without_shards_are_refused(folder, tmp_path):
    with pytest.raises(SettingError, match="contains no SPLIT/PREFIX"):
        verify_folder(str(tmp_path))
    with pytest.raises(SettingError, match="the folder of one split"):
        verify_folder(str(folder(record()) / "train"))


def test_the_released_balanced_split_is_good_but_for_order(shared):
    summary = verify_folder(str(shared / "data" / "audioset_release"), strict=True)
    assert summary.clips == {"bal_train": 22_160}
    assert all("not in order" in problem for problem in summary.problems)


def test_a_folder_with_a_shard_that_cannot_be_read_has_no_root(folder):
    path = folder(record())
    folder(record("zz1"), shard="train/zz")

    def delete_one(check, shards):
        (path / "train" / "zz.tfrecord").unlink()
        return map(check, shards)

    summary = verify_folder(str(path), run_all=delete_one)
    assert summary.root is None and "root    none, since a shard cannot be read" in summary.lines()
    assert "zz.tfrecord: cannot be read" in summary.problems[0]
    assert verify_folder(str(path)).root
