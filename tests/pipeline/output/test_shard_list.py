"""The list of the shards that runs wrote, `_run/shards.jsonl`."""

import json

import pytest
from sounds import write_noise
from trial_runs import TRIAL, json_lines, refusal, totals

from pipeline import run
from transforms.audioset.reading import FeatureShards
from transforms.errors import SettingError


@pytest.fixture
def corpus(tmp_path):
    for n, name in enumerate(("ab1", "ab2", "ac1")):
        write_noise(tmp_path / "audio" / f"{name}.wav", 1.0 + n, seed=n)
    return tmp_path / "audio"


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "_run" not in path.relative_to(folder).parts
    }


@pytest.mark.integration  # seconds each
@pytest.mark.parametrize("line", ["[]", "{}", '{"path": 1}', "{", "[" * 100_000])
def test_a_malformed_list_of_shards_is_one_line_that_names_it(corpus, tmp_path, line):
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={corpus}/ab*", f"--output={out}"]
    assert run.run(flags) == 0
    path = out / "_run" / "shards.jsonl"
    path.write_text(path.read_text() + line + "\n")
    for extra in ([], ["--overwrite"], ["--plan"]):
        assert f"{path}, line 2: not a shard" in refusal([*flags, *extra])
    with pytest.raises(SettingError, match=r"shards\.jsonl, line 2: not a shard .* restore it"):
        FeatureShards.find(str(out))
    assert (out / "train" / "ab.tfrecord").exists()


def test_a_list_of_a_later_version_is_read(corpus, tmp_path):
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={out}"]
    assert run.run(flags) == 0
    path = out / "_run" / "shards.jsonl"
    rows = [json.loads(line) | {"more": 1} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run.run(flags) == 0
    assert totals(out) == (3, 0, 0, 3)
    assert '"more"' not in path.read_text()


def test_without_its_list_of_shards_a_folder_is_refused(corpus, tmp_path):
    """A run of another split, in whose way no file stands, would leave the others out of its list."""
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={corpus}/ab*", f"--output={out}"]
    assert run.run(flags) == 0
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
    assert len(json_lines(listed)) == 2
