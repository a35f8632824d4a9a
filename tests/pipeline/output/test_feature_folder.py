"""A folder's shards are those that its runs wrote; no run reads or deletes the files of others."""

import functools
import json
import os
import shutil

import pytest
from folders import verified, write_corpus
from sounds import write_noise
from trial_runs import TRIAL, refusal, shards, totals

from pipeline import run
from pipeline.cli.console import run_command
from pipeline.make_shards import run as make_shards
from pipeline.output import feature_folder
from pipeline.output.feature_folder import FeatureFolder
from pipeline.statistics.passes import FrameFolder
from pipeline.verify import verify_folder
from transforms.audioset.reading import FeatureShards
from transforms.audioset.schemas import AUDIOSET_SCHEMA
from transforms.errors import SettingError
from transforms.features.folder_shards import ShardNotes, find_shards
from transforms.storage.files import match_files, temporary_files
from transforms.storage.filesystems import temporary_name
from transforms.storage.globs import escape
from transforms.vggish.postprocess import RELEASED_RANGE

pytestmark = pytest.mark.usefixtures("stand_in_network")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for n, name in enumerate(("ab1", "ab2", "ac1")):
        write_noise(folder / f"{name}.wav", 1.0 + n, seed=n)
    return folder


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    """The folder of a run over the corpus."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={folder}"]) == 0
    return folder


@pytest.fixture
def strangers(tmp_path) -> dict[str, bytes]:
    """Files in the output that no run wrote, with features in them or not."""
    write_corpus(tmp_path / "other", split="mydata")
    out = tmp_path / "out"
    shutil.copytree(tmp_path / "other" / "mydata", out / "mydata")
    (out / "mydata" / "precious.tfrecord").write_bytes(b"not to be lost")
    (out / "train").mkdir()
    (out / "train" / "precious.tfrecord").write_bytes(b"nor this")
    (out / "mydata" / temporary_name("ab.tfrecord")).write_bytes(b"of a program at work")
    return files(out)


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "_run" not in path.relative_to(folder).parts
    }


def test_files_of_others_are_not_deleted_or_read(corpus, strangers, tmp_path, capsys):
    out = tmp_path / "out"
    flags = [*TRIAL, f"--output={out}"]
    assert run.run([*flags, f"--input={corpus}/*"]) == 0
    assert totals(out) == (3, 3, 0, 0)
    written = {"train/ab.tfrecord", "train/ac.tfrecord"}
    assert files(out).keys() == strangers.keys() | written
    for again in ([f"--input={corpus}/*"], [f"--input={corpus}/ab*", "--overwrite"]):
        assert run.run([*flags, *again]) == 0
        assert files(out).items() >= strangers.items()
    assert files(out).keys() == strangers.keys() | {"train/ab.tfrecord"}
    own = (str(out / "train" / "ab.tfrecord"),)
    assert find_shards(str(out)).to_read == own
    assert FeatureShards.find(str(out)).paths == own == FeatureShards.find(str(out / "train")).paths
    assert FrameFolder.at(str(out)).folder.shards == own
    result = verified(capsys, out)
    assert result["clips"] == {"train": 2}
    assert any("was not written by a run here" in note and "mydata" in note for note in result["notes"])
    listed = (out / "_run" / "shards.jsonl").read_text()
    assert [json.loads(line)["path"] for line in listed.splitlines()] == ["train/ab.tfrecord"]
    assert json.loads((out / "_run" / "manifest.json").read_text())["clips"] == {"train": 2}


@pytest.mark.integration  # seconds each
def test_shards_of_audio_in_the_output_are_read_and_stay(corpus, expected, tmp_path):
    out = tmp_path / "out"
    packing = [f"--input={corpus}/*", f"--output={out}/shards", "--format=tfrecord", "--runner=FnApiRunner"]
    assert make_shards(packing) == 0
    before = files(out)
    flags = [*TRIAL, f"--input={out}/shards/*.tfrecord", f"--output={out}"]
    for extra in ([], ["--overwrite"], []):
        assert run.run([*flags, *extra]) == 0
        assert files(out).items() >= before.items()
    assert totals(out) == (3, 0, 0, 3)
    assert {name: data for name, data in shards(out).items() if name.startswith("train")} == shards(expected)


@pytest.mark.integration  # seconds each
@pytest.mark.parametrize("spelling", ["{out}/*/*.tfrecord", "{out}/../out/train/ab.tfrecord", "{link}/**"])
@pytest.mark.parametrize("extra", [[], ["--overwrite"], ["--plan"]])
def test_its_own_shards_are_not_inputs(corpus, tmp_path, spelling, extra):
    out = tmp_path / "out"
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={out}"]) == 0
    before = files(out)
    (tmp_path / "link").symlink_to(out / "train")
    given = spelling.format(out=out, link=tmp_path / "link")
    message = refusal([*TRIAL, f"--input={given}", f"--output={out}", *extra])
    assert f"--input={given}: matches no file except" in message and "of --output itself" in message
    assert files(out) == before


def test_a_file_with_the_path_of_a_shard_is_named_before_any_work(corpus, tmp_path):
    out = tmp_path / "out"
    (out / "train").mkdir(parents=True)
    in_the_way = out / "train" / "zz.tfrecord"
    in_the_way.write_bytes(b"precious")
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={out}"]
    for extra in ([], ["--overwrite"], ["--plan"]):
        assert f"{in_the_way} has the path of a shard that this run may write" in refusal([*flags, *extra])
    assert in_the_way.read_bytes() == b"precious" and len(files(out)) == 1
    # Of numbered shards no name is like it.
    assert run.run([*flags, "--sharding=hash:2"]) == 0
    assert in_the_way.read_bytes() == b"precious"


def test_a_file_with_the_path_of_a_shard_of_an_inputs_own_split_stops_the_run(tmp_path, capsys):
    write_noise(tmp_path / "audio" / "ab1.wav", 1.0)
    packing = [f"--input={tmp_path}/audio/*", f"--output={tmp_path}/packed", "--split=mine"]
    assert make_shards([*packing, "--format=tfrecord", "--runner=FnApiRunner"]) == 0
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    in_the_way = out / "mine" / "ab.tfrecord"
    in_the_way.write_bytes(b"precious")
    flags = [*TRIAL, f"--input={tmp_path}/packed/*.tfrecord", f"--output={out}"]
    capsys.readouterr()
    for _ in range(2):
        assert run_command("pipeline.run", lambda: run.run(flags)) == 1
        error = capsys.readouterr().err
        assert f"{in_the_way}: no run wrote this file, but a shard must have this path" in error
        assert in_the_way.read_bytes() == b"precious"
    in_the_way.unlink()
    assert run.run(flags) == 0
    assert totals(out) == (1, 1, 0, 0)


def test_shards_of_a_killed_run_are_its_own(corpus, expected, tmp_path):
    """The state after a killed run: notes without a list, and a file that no run wrote."""
    out = tmp_path / "out"
    shutil.copytree(expected, out)
    run_folder = out / "_run"
    manifest = json.loads((run_folder / "manifest.json").read_text())
    (run_folder / "manifest.json").write_text(json.dumps(manifest | {"finished": None, "clips": None}))
    (run_folder / "shards.jsonl").unlink()
    notes = ShardNotes(str(out))
    notes.begin([])
    notes.note("train", "ab", b"")
    notes.note("train", "ac", b"")
    (out / "train" / "ac.tfrecord").unlink()  # announced, and killed before it was put in place
    left = out / "train" / temporary_name("ac.tfrecord")
    left.write_bytes(b"half")
    (out / "mydata").mkdir()
    stranger = out / "mydata" / "ab.tfrecord"
    stranger.write_bytes(b"precious")
    assert find_shards(str(out)) == ((str(out / "train" / "ab.tfrecord"),), (str(stranger),), True)
    assert FeatureShards.find(str(out)).paths == (str(out / "train" / "ab.tfrecord"),)
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={out}"]) == 0
    assert totals(out) == (3, 1, 0, 2)
    stranger.unlink()
    assert files(out) == files(expected)
    assert (run_folder / "shards.jsonl").read_bytes() == (expected / "_run" / "shards.jsonl").read_bytes()
    assert {p.name for p in run_folder.iterdir()} == {p.name for p in (expected / "_run").iterdir()}
    assert not left.exists() and not temporary_files(str(out))


def test_leftovers_of_a_shard_that_no_later_run_writes_are_deleted(corpus, tmp_path):
    out = tmp_path / "out"
    notes = ShardNotes(str(out))
    notes.begin([])
    notes.note("other", "zz", b"")
    (out / "other").mkdir()
    left = out / "other" / temporary_name("zz.tfrecord")
    left.write_bytes(b"half")
    assert run.run([*TRIAL, f"--input={corpus}/ac*", f"--output={out}"]) == 0
    assert not left.exists()


def test_a_run_killed_before_its_list_keeps_those_of_the_runs_before(corpus, tmp_path):
    out = tmp_path / "out"
    assert run.run([*TRIAL, f"--input={corpus}/ab*", f"--output={out}"]) == 0
    ShardNotes(str(out)).begin(["train/ab.tfrecord"])
    (out / "_run" / "shards.jsonl").unlink()
    assert find_shards(str(out)).own == (str(out / "train" / "ab.tfrecord"),)
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={out}"]) == 0
    assert totals(out) == (3, 1, 0, 2)


def test_a_folder_with_characters_of_globs_in_its_name_resumes(corpus, tmp_path):
    out = tmp_path / "out[1]*?"
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={out}"]
    assert run.run(flags) == 0
    assert run.run(flags) == 0
    assert totals(out) == (3, 0, 0, 3)
    assert match_files(escape(str(out)) + "/train/*") == [
        str(out / "train" / f"{name}.tfrecord") for name in ("ab", "ac")
    ]
    assert not [path for path in (out / "_run").iterdir() if path.name.startswith(("before", "own"))]


def test_probes_of_a_killed_run_are_deleted(corpus, tmp_path, monkeypatch):
    """The probes test whether the output can be written, and whether its disk folds case."""
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={corpus}/ab*", f"--output={out}"]
    for at in ("probe", "case"):

        def killed(path, *mode, at=at, unlink=os.unlink):
            if at in os.path.basename(path):
                raise KeyboardInterrupt
            unlink(path, *mode)

        monkeypatch.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            run.run(flags)
        monkeypatch.undo()
        assert any(at in path.name for path in (out / "_run").iterdir())
    assert run.run(flags) == 0
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert not any("case" in name or "probe" in name for name in names), names


def test_an_overwrite_killed_at_any_file_can_be_repeated(corpus, expected, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(expected, out)
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={out}"]
    delete = feature_folder.delete_files

    def killed(at, paths):
        for path in paths:
            delete([path])
            if path.endswith(at):
                raise KeyboardInterrupt

    for at in ("ab.tfrecord", "manifest.json", "shards.jsonl"):
        monkeypatch.setattr(feature_folder, "delete_files", functools.partial(killed, at))
        with pytest.raises(KeyboardInterrupt):
            run.run([*flags, "--overwrite"])
        monkeypatch.undo()
        assert run.run(flags) == 0
        assert files(out) == files(expected)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": [1]},
        {"settings": None},
        {"finished": {}},
        {"clips": [1]},
        {"clips": {"train": "many"}},
        {"history": 5},
    ],
)
def test_a_manifest_with_a_wrong_type_is_one_line(corpus, expected, change):
    path = expected / "_run" / "manifest.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), **change}))
        message = refusal([*TRIAL, f"--input={corpus}/*", f"--output={expected}"])
        assert f"{path}: cannot be read" in message and "restore or remove it" in message
        with pytest.raises(SettingError, match=r"manifest\.json: cannot be read"):
            verify_folder(str(expected))
    finally:
        path.write_text(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "5", '"x"', "[]", "\xff"])
def test_an_invalid_manifest_is_one_line(corpus, expected, text):
    path = expected / "_run" / "manifest.json"
    before = path.read_bytes()
    try:
        path.write_bytes(text.encode("latin-1"))
        message = refusal([*TRIAL, f"--input={corpus}/*", f"--output={expected}"])
        assert f"{path}: cannot be read" in message and "\n" not in message
    finally:
        path.write_bytes(before)


def test_all_lists_of_earlier_rejects_count(tmp_path):
    names = ["rejected-00000-of-00002.jsonl", "rejected-00001-of-00002.jsonl", "displaced.jsonl"]
    (tmp_path / "_run").mkdir()
    for name in [*names, "unmatched-00000-of-00001.jsonl"]:
        (tmp_path / "_run" / name).touch()
    assert FeatureFolder.at(str(tmp_path)).earlier_rejects == [f"{tmp_path}/_run/{name}" for name in names]


def test_a_setting_that_a_manifest_lacks_has_the_value_that_runs_had_then():
    old = FeatureFolder("b", ("b/train/ab.tfrecord",), (), True, {"settings": {"weights": "random:0"}})
    assert (old.schema, old.quantization, old.framing.hop_s) == (AUDIOSET_SCHEMA, RELEASED_RANGE, 0.96)
    then = {
        **{"weights": "random:0", "precision": "float32", "resampler": "resampy", "frontend": "cpu"},
        **{"quantization_range": [-2.0, 2.0], "output_schema": "audioset"},
        "decoders": {"libsndfile": "1.2", "libavcodec": "62"},
    }
    old.check_settings(then)
    for name in then:
        with pytest.raises(SettingError, match=f"with {name} .*, but this command has other"):
            old.check_settings(then | {name: "other"})
