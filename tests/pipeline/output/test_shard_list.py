"""The list of the shards that runs wrote, `_run/shards.jsonl`."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from sounds import write_noise
from trial_runs import TRIAL, json_lines, refusal, totals

from pipeline import run
from pipeline.output.feature_folder import FeatureFolder
from pipeline.output.shard_list import read_shard_list, root_of, update_shard_list
from transforms.audioset.reading import FeatureShards
from transforms.errors import SettingError
from transforms.features.open_shard import ShardFile

pytestmark = pytest.mark.usefixtures("stand_in_network")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with audio, and the folder of a run over it."""
    folder = tmp_path_factory.mktemp("finished")
    for n, name in enumerate(("ab1", "ab2", "ac1")):
        write_noise(folder / "audio" / f"{name}.wav", 1.0 + n, seed=n)
    assert run.run([*TRIAL, f"--input={folder}/audio/*", f"--output={folder}/out"]) == 0
    return folder


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished / "out", tmp_path / "out")


@pytest.fixture
def flags(finished, out) -> list[str]:
    return [*TRIAL, f"--input={finished}/audio/*", f"--output={out}"]


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "_run" not in path.relative_to(folder).parts
    }


def test_the_root_is_the_hash_of_the_list_and_is_in_the_manifest(out):
    listed = out / "_run" / "shards.jsonl"
    root = hashlib.sha256(listed.read_bytes()).hexdigest()
    shards = list(read_shard_list([str(listed)]).values())
    assert root_of(shards) == root == json.loads((out / "_run" / "manifest.json").read_text())["root"]
    for name, value in {"path": "train/xy.tfrecord", "records": 7, "size_bytes": 7, "sha256": "7"}.items():
        assert root_of([replace(shards[0], **{name: value}), *shards[1:]]) != root
    assert root_of(shards[1:]) != root


@pytest.mark.parametrize("line", ["[]", "{}", '{"path": 1}', "{", "[" * 100_000])
def test_a_malformed_list_of_shards_is_one_line_that_names_it(flags, out, line):
    path = out / "_run" / "shards.jsonl"
    path.write_text(path.read_text() + line + "\n")
    for extra in ([], ["--overwrite"], ["--plan"]):
        assert f"{path}, line 3: not a shard" in refusal([*flags, *extra])
    with pytest.raises(SettingError, match=r"shards\.jsonl, line 3: not a shard .* restore the file"):
        FeatureShards.find(str(out))
    assert (out / "train" / "ab.tfrecord").exists()


def test_a_list_of_a_later_version_is_read(flags, out):
    path = out / "_run" / "shards.jsonl"
    rows = [json.loads(line) | {"more": 1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run.run(flags) == 0
    assert totals(out) == (3, 0, 0, 3)
    assert '"more"' not in path.read_text()


def test_without_its_list_of_shards_a_folder_is_refused(flags, out):
    """A run of another split could write all its shards, and would leave the others out of its list."""
    listed = out / "_run" / "shards.jsonl"
    data = listed.read_bytes()
    listed.unlink()
    before = files(out)
    for extra in ([], ["--split=other"], ["--split=other", "--overwrite"]):
        message = refusal([*flags, *extra])
        assert f"{listed}: is missing" in message and "restore it from a copy" in message
    assert files(out) == before
    listed.write_bytes(data)
    assert run.run([*flags, "--split=other"]) == 0
    assert len(json_lines(listed)) == 4


def test_the_list_of_a_run_is_not_believed_after_one_that_did_not_finish(finished, tmp_path):
    """A job that was handed over has added a clip to a shard, and the next run finds every clip there."""
    out = tmp_path / "out"
    assert run.run([*TRIAL, f"--input={finished}/audio/ab1.wav", f"--output={out}"]) == 0
    listed = (out / "_run" / "shards.jsonl").read_bytes()
    flags = [*TRIAL, f"--input={finished}/audio/ab*.wav", f"--output={out}"]
    assert run.run([*flags, "--no_wait_until_finish"]) == 0
    assert (out / "_run" / "shards.jsonl").read_bytes() == listed
    assert run.run(flags) == 0
    assert totals(out) == (2, 0, 0, 2)
    (line,) = json_lines(out / "_run" / "shards.jsonl")
    assert line == json_lines(finished / "out" / "_run" / "shards.jsonl")[0] and line["records"] == 2


def test_lines_become_shards_and_later_lists_win(tmp_path):
    row = {"path": "train/ab.tfrecord", "records": 1, "size_bytes": 5, "sha256": "0", "more": 1}
    (tmp_path / "old").write_text(json.dumps(row) + "\n")
    (tmp_path / "new").write_text(json.dumps(row | {"records": 2}))
    found = read_shard_list([str(tmp_path / "old"), str(tmp_path / "new")])
    assert found == {"train/ab.tfrecord": ShardFile("train/ab.tfrecord", 2, 5, "0")}


@pytest.mark.parametrize("change", [{"path": 1}, {"records": "1"}, {"size_bytes": None}, {"sha256": 0}])
def test_a_line_with_a_value_of_another_type_is_named(tmp_path, change):
    row = {"path": "train/ab.tfrecord", "records": 1, "size_bytes": 5, "sha256": "0"}
    (tmp_path / "list").write_text("\n" + json.dumps(row | change))
    with pytest.raises(SettingError, match=r"list: cannot be read as a list of shards \(line 2: TypeError"):
        read_shard_list([str(tmp_path / "list")])


def test_a_list_has_each_shard_once_and_hashes_those_that_no_list_has(out):
    path = out / "_run" / "shards.jsonl"
    lines = path.read_text()
    manifest = json.loads((out / "_run" / "manifest.json").read_text())
    for finished in (manifest["finished"], None):  # of an unfinished run, the list may be outdated
        (out / "_run" / "manifest.json").write_text(json.dumps(manifest | {"finished": finished}))
        path.write_text(lines.replace('"records": 2', '"records": 7'))
        shards = update_shard_list(FeatureFolder.at(str(out)))
        assert [shard.records for shard in shards] == ([7, 1] if finished else [2, 1])
    assert path.read_text() == lines
    path.unlink()
    assert update_shard_list(FeatureFolder.at(str(out))) == []  # all shards are foreign now
