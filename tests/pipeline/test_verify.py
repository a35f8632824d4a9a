import json
import shutil

import pytest
from folders import damage_flip, record, verified

from pipeline import verify
from transforms.errors import SettingError
from transforms.example_protos import SequenceExample
from transforms.storage.tfrecord import frame_records


def test_the_command_prints_the_summary_and_has_status_1_for_problems(folder, capsys):
    path = folder(record())
    assert verify.run([str(path)]) == 0
    assert "is good" in capsys.readouterr().out
    folder(record("zzz"))
    assert verify.run([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "clips   1, in 1 shard\n" in printed and "has 1 problem\n" in printed
    assert "belongs in zz" in printed


def segment_flags(folder) -> list[str]:
    return [f"--segments=mine={folder}/mine.csv", f"--class_labels={folder}/labels.csv"]


def test_a_complete_folder_passes_every_check(whole, capsys):
    out = whole / "out"
    result = verified(capsys, out, "--strict", "--manifest", f"--against={out}", *segment_flags(whole))
    assert result["good"] and result["notes"] == []
    assert (result["clips"], result["frames"], result["kinds"]) == ({"mine": 2}, 4, ["quantized"])
    assert {name: result["segments"][name] for name in ("segments", "there", "rejected", "missing")} == {
        "segments": 3,
        "there": 2,
        "rejected": 1,
        "missing": 0,
    }
    assert result["against"]["identical"] == 2 and result["against"]["cosine"] == 1.0


def test_a_root_is_compared_with_that_of_the_shards(whole, tmp_path, capsys):
    out = shutil.copytree(whole / "out", tmp_path / "out")
    root = json.loads((out / "_run" / "manifest.json").read_text())["root"]
    assert verified(capsys, out, f"--root={root.upper()}")["root"] == root
    # The root is that of the shards, whatever the run's lists say.
    shutil.rmtree(out / "_run")
    assert verified(capsys, out, f"--root={root}")["root"] == root
    damage_soundly(out / "mine" / "tw.tfrecord")
    result = verified(capsys, out, f"--root={root}")
    assert result["root"] != root
    assert result["problems"] == [f"{out}: has the root {result['root']}, not --root={root}"]


def damage_soundly(path):
    """Other bytes, in a file whose checksums are right."""
    example = SequenceExample.FromString(path.read_bytes()[12:-4])
    frame = example.feature_lists.feature_list["audio_embedding"].feature[0].bytes_list
    frame.value[0] = bytes([frame.value[0][0] ^ 1]) + frame.value[0][1:]
    path.write_bytes(frame_records([example.SerializeToString(deterministic=True)]))


@pytest.mark.parametrize(
    "change, problems",
    [
        (
            damage_flip,
            ["its checksum is wrong", "differs from the list of shards: records 0 instead of 1"],
        ),
        (damage_soundly, ["tw.tfrecord: differs from the list of shards: sha256"]),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-20]),
            ["tw.tfrecord: the file ends in"],
        ),
        (lambda path: path.write_bytes(b""), ["records 0 instead of 1, size_bytes 0"]),
        (lambda path: path.unlink(), ["mine/tw.tfrecord is in the list of shards but missing"]),
        (
            lambda path: path.rename(path.with_name("xy.tfrecord")),
            [
                "mine/tw.tfrecord is in the list of",
                "xy.tfrecord: is not in the list of shards",
            ],
        ),
        (
            lambda path: path.parent.rename(path.parents[1] / "other"),
            [
                "clips of mine: 2 in the manifest, but 0 in",
                "other/on.tfrecord: is not in the list of shards",
                "mine/on.tfrecord is",
            ],
        ),
        (lambda path: path.write_bytes(path.read_bytes() * 2), ["'two' at 0.1 s occurs 2 times"]),
    ],
)
def test_each_change_is_found_by_the_list_and_names_the_shard(copied, capsys, change, problems):
    change(copied / "out" / "mine" / "tw.tfrecord")
    found = verified(capsys, copied / "out", "--manifest")["problems"]
    for problem in problems:
        assert any(problem in line for line in found), found


def test_changed_bytes_with_right_checksums_are_found_by_the_list_only(copied, capsys):
    damage_soundly(copied / "out" / "mine" / "tw.tfrecord")
    assert verified(capsys, copied / "out")["good"]


def test_a_missing_or_invalid_list_is_a_mistake(copied):
    path = copied / "out" / "_run" / "shards.jsonl"
    path.write_text("[]")
    with pytest.raises(SettingError, match="restore it"):
        verify.run([str(copied / "out"), "--manifest"])
    path.unlink()
    with pytest.raises(SettingError, match=r"has no _run/shards\.jsonl"):
        verify.run([str(copied / "out"), "--manifest"])


def test_only_fifty_problems_are_shown_and_all_are_counted(copied, capsys):
    rows = "".join(f"id{number}, 0, 1, /m/a\n" for number in range(60))
    (copied / "mine.csv").write_text(rows)
    assert verify.run([str(copied / "out"), *segment_flags(copied)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("has no record") == 50 and "... and 10 more" in printed and "60 problems" in printed
    assert verify.run([str(copied / "out"), *segment_flags(copied), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 60


def test_unknown_options_are_a_mistake(folder):
    path = str(folder(record()))
    with pytest.raises(SettingError, match=r"unknown option --manifests \(did you mean --manifest\?\)"):
        verify.run([path, "--manifests"])
    assert verify.run([path, "--s3_region_name=us-east-1"]) == 0


def test_help_is_printed(capsys):
    with pytest.raises(SystemExit) as exited:
        verify.run(["--help"])
    assert exited.value.code == 0 and "--against DIR2" in capsys.readouterr().out
