import json

import pytest
from folders import write_corpus

from transforms.audioset.reading import FeatureShards
from transforms.errors import OutputError, SettingError
from transforms.features.folder_shards import (
    LOCK_FILE,
    ShardNotes,
    announced_shards,
    find_shards,
    relative_path,
)
from transforms.read_features import find_kind


def test_without_a_run_all_shards_are_features(tmp_path):
    """As in the release, which has no `_run`."""
    folder = write_corpus(tmp_path / "release")
    paths = find_shards(str(folder)).to_read
    assert len(paths) == 15 == len(FeatureShards.find(str(folder)).paths)
    assert find_kind(paths) == "quantized"


@pytest.fixture
def folder(tmp_path):
    """Three files with names of shards."""
    (tmp_path / "train").mkdir()
    for name in ("aa", "bb", "cc"):
        (tmp_path / "train" / f"{name}.tfrecord").touch()
    return tmp_path


def test_shards_that_runs_wrote_are_distinguished_from_others(folder):
    paths = tuple(f"{folder}/train/{name}.tfrecord" for name in ("aa", "bb", "cc"))
    found = find_shards(str(folder))
    assert (found.own, found.foreign, found.has_own_list) == ((), paths, False)
    assert found.to_read == paths and announced_shards(str(folder)) is None
    (folder / "_run").mkdir()
    (folder / "_run" / "shards.jsonl").write_text('{"path": "train/bb.tfrecord"}\n')
    found = find_shards(str(folder))
    assert (found.own, found.foreign, found.has_own_list) == (paths[1:2], paths[::2], True)
    assert found.to_read == paths[1:2] and announced_shards(str(folder)) == {"train/bb.tfrecord"}
    (folder / "_run" / "shards.jsonl").write_text("[]\n")
    with pytest.raises(SettingError, match="restore it from a copy, or give another folder"):
        find_shards(str(folder))


def test_a_note_makes_a_shard_a_runs_own_and_keeps_its_first_state(folder):
    notes = ShardNotes(str(folder))
    notes.begin(["train/aa.tfrecord"])
    assert notes.owns("train", "aa") and not notes.owns("train", "bb")
    assert notes.read("train", "bb") is None
    notes.note("train", "bb", b"before")
    for later in (b"later", b"last"):
        notes.note("train", "bb", later)
    assert notes.owns("train", "bb") and notes.read("train", "bb") == b"before"
    assert announced_shards(str(folder)) == {"train/aa.tfrecord", "train/bb.tfrecord"}
    notes.end()
    assert list((folder / "_run").iterdir()) == []


def test_a_new_run_deletes_the_notes_of_a_killed_one(folder):
    ShardNotes(str(folder)).note("train", "bb", b"")
    ShardNotes(str(folder)).begin([])
    assert announced_shards(str(folder)) == frozenset()


@pytest.mark.parametrize(
    ("lock", "may_write"),
    [(None, True), ({"run": "mine"}, True), ({"run": "other"}, False), ({}, False), ([], False)],
)
def test_a_run_stops_if_another_one_has_the_lock(folder, lock, may_write):
    (folder / "_run").mkdir()
    if lock is not None:
        (folder / "_run" / LOCK_FILE).write_text(json.dumps(lock))
    notes = ShardNotes(str(folder), "mine")
    if may_write:
        notes.note("train", "aa", b"")
    else:
        with pytest.raises(OutputError, match="another run has this folder now"):
            notes.note("train", "aa", b"")
    assert notes.owns("train", "aa") is may_write
    ShardNotes(str(folder)).note("train", "aa", b"")  # a run without a lock never stops


def test_the_relative_path_of_a_shard():
    assert relative_path("gs://bucket/folder/train/aa.tfrecord") == "train/aa.tfrecord"
