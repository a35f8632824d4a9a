import json
import shutil

import numpy as np
import pytest
from folders import CODES, verified, write_corpus
from sounds import write_noise

from pipeline import run, verify
from pipeline.verification.compare import compare_folders
from pipeline.verification.process_pool import Processes
from pipeline.verify import verify_folder
from transforms.audioset.example import SequenceExample, encode_example
from transforms.audioset.layout import Sharding
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.storage.tfrecord import frame_records

FRAMES = np.arange(3 * 128, dtype=np.uint8).reshape(3, 128)


def record(video_id: str = "abc", start_s: float = 0.0, end_s: float = 3.0, labels=(1,), frames=FRAMES):
    return encode_example(Segment("train", video_id, start_s, end_s, labels), frames)


@pytest.fixture
def folder(tmp_path):
    """Writes records as train/ab.tfrecord (or another shard) and returns the feature folder."""

    def write(*records: bytes, shard: str = "train/ab"):
        path = tmp_path / f"{shard}.tfrecord"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(frame_records(records))
        return tmp_path

    return write


def changed(change) -> bytes:
    example = SequenceExample.FromString(record())
    change(example.context.feature, example.feature_lists.feature_list)
    return example.SerializeToString(deterministic=True)


def test_a_sound_folder_is_summed_up(folder):
    folder(record("abc"), record("abd", 10.0, 13.0, ()))
    summary = verify_folder(str(folder(record("x"), shard="eval/x")), strict=True)
    assert summary.problems == []
    assert summary.clips == {"train": 2, "eval": 1}
    assert (summary.frames, summary.duration_s, set(summary.kinds)) == (9, 9.0, {"quantized"})
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
def test_each_fault_is_found_and_named(folder, bad, problem):
    summary = verify_folder(str(folder(record(), bad)))
    assert any(problem in found and "ab.tfrecord, record 1" in found for found in summary.problems)


def test_clips_that_come_twice_are_found(folder):
    (problem,) = verify_folder(str(folder(record(), record("abd"), record()))).problems
    assert "'abc' at 0.0 s occurs 2 times" in problem


def test_order_counts_only_when_strict(folder):
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
        f"{path}: eval has 1 clips in the manifest, but 0 in the shards",
        f"{path}: train has 2 clips in the manifest, but 1 in the shards",
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


def test_numbered_shards_are_all_there_and_of_one_number(folder):
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


def test_command_prints_the_summary_and_exits_1_with_the_faults(folder, capsys):
    path = folder(record())
    assert verify.run([str(path)]) == 0
    assert "is good" in capsys.readouterr().out
    folder(record("zzz"))
    assert verify.run([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "clips   1, in 1 shards" in printed and "belongs in zz" in printed and "has 1 problems" in printed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run wrote of three segments' files, one of them no audio; beside it its segments CSV."""
    folder = tmp_path_factory.mktemp("whole")
    for seed, name in enumerate(("one", "two")):
        write_noise(folder / "audio" / f"{name}.wav", 2.0, seed=seed)
    (folder / "audio" / "three.wav").write_text("no audio\n" * 100)
    (folder / "labels.csv").write_text("index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n")
    rows = [f'{name}, 0.100, 2.000, "/m/b,/m/a"' for name in ("one", "two", "three")]
    (folder / "mine.csv").write_text("\n".join(rows))
    argv = ["--runner=FnApiRunner", "--weights=random:0", "--pca_params=none", "--max_reject_fraction=1"]
    argv += [f"--input={folder}/audio/*", f"--output={folder}/out", *segment_flags(folder)]
    assert run.run(argv) == 0
    return folder


def segment_flags(folder) -> list[str]:
    return [f"--segments=mine={folder}/mine.csv", f"--class_labels={folder}/labels.csv"]


@pytest.fixture
def copied(whole, tmp_path):
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "whole")


def test_a_whole_folder_is_good_by_every_check(whole, capsys):
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


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)


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
                "mine has 2 clips in the manifest, but 0 in",
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


def test_bytes_that_are_sound_and_changed_need_the_list(copied, capsys):
    damage_soundly(copied / "out" / "mine" / "tw.tfrecord")
    assert verified(capsys, copied / "out")["good"]


def test_the_list_must_be_there_and_a_list(copied):
    path = copied / "out" / "_run" / "shards.jsonl"
    path.write_text("[]")
    with pytest.raises(SettingError, match="restore it"):
        verify.run([str(copied / "out"), "--manifest"])
    path.unlink()
    with pytest.raises(SettingError, match=r"has no _run/shards\.jsonl"):
        verify.run([str(copied / "out"), "--manifest"])


def test_segments_are_there_or_rejected_or_missing(copied, capsys):
    out = copied / "out"
    (copied / "mine.csv").write_text(
        'one, 0.100, 3.000, "/m/b,/m/a"\nthree, 0.100, 2.000, /m/a\none, 5.000, 7.000, /m/a\n'
        "other, 0.100, 2.000, /m/a\n"
    )
    result = verified(capsys, out, *segment_flags(copied))
    assert result["problems"] == [
        f"{out}: 'one' at 5.0 s of mine has no record and is not in the list of rejects",
        f"{out}: 'other' at 0.1 s of mine has no record and is not in the list of rejects",
    ]
    assert result["segments"] == {
        "segments": 4,
        "there": 1,
        "rejected": 1,
        "missing": 2,
        "unnamed": 1,
        "other_ends": 1,
        "other_labels": 0,
        "hidden": 0,
    }
    assert len(result["notes"]) == 2
    verify.run([str(out), *segment_flags(copied)])
    assert "segments: 4 = there 1 + rejected 1 + missing 2" in capsys.readouterr().out


def test_labels_other_than_the_segments_are_a_fault(copied, capsys):
    (copied / "mine.csv").write_text('one, 0.100, 2.000, "/m/b"\n')
    (problem,) = verified(capsys, copied / "out", *segment_flags(copied))["problems"]
    assert problem == f"{copied}/out/mine/on.tfrecord: 'one' at 0.1 s has other labels than its segment, [7]"


def test_segments_of_another_split_are_missing(copied, capsys):
    flags = [flag.replace("mine=", "eval=") for flag in segment_flags(copied)]
    assert verified(capsys, copied / "out", *flags)["segments"]["missing"] == 3


def test_only_fifty_faults_are_shown_and_all_are_counted(copied, capsys):
    rows = "".join(f"id{number}, 0, 1, /m/a\n" for number in range(60))
    (copied / "mine.csv").write_text(rows)
    assert verify.run([str(copied / "out"), *segment_flags(copied)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("has no record") == 50 and "... and 10 more" in printed and "60 problems" in printed
    assert verify.run([str(copied / "out"), *segment_flags(copied), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 60


def test_options_that_nobody_has_are_a_mistake(folder):
    path = str(folder(record()))
    with pytest.raises(SettingError, match=r"unknown option --manifests \(did you mean --manifest\?\)"):
        verify.run([path, "--manifests"])
    assert verify.run([path, "--s3_region_name=us-east-1"]) == 0


def test_help_is_given(capsys):
    with pytest.raises(SystemExit) as exited:
        verify.run(["--help"])
    assert exited.value.code == 0 and "--against DIR2" in capsys.readouterr().out


@pytest.mark.integration
def test_processes_find_what_one_process_finds(tmp_path):
    one = write_corpus(tmp_path / "one")
    other = write_corpus(tmp_path / "other", 255 - CODES, Sharding(5), skip=(1,))
    damage_flip(one / "train" / "09.tfrecord")
    with Processes(
        2, ["pipeline.verification.check_folder", "pipeline.verification.compare"], patience_s=0
    ) as processes:
        found = [verify_folder(str(path), indexed=True, run_all=processes.map) for path in (one, other)]
        expected = [verify_folder(str(path), indexed=True) for path in (one, other)]
        assert [summary.problems for summary in found] == [summary.problems for summary in expected]
        indices = [summary.index for summary in found]
        assert compare_folders(*indices, processes.map) == compare_folders(*indices)


def test_the_released_balanced_split_is_good_but_for_order(shared):
    path = str(shared / "data" / "audioset_release")
    summary = verify_folder(path)
    assert summary.problems == [] and summary.clips == {"bal_train": 22_160}
    assert all("not in order" in problem for problem in verify_folder(path, strict=True).problems)
