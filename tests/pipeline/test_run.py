"""The command as a whole, in this process: what it writes, counts, prints and refuses."""

import json
import os
import sys

import numpy as np
import pytest
from sounds import write_bad_files, write_noise
from trial_runs import REJECTED, TRIAL, UNMATCHED, json_lines, read, refusal

from pipeline import run
from pipeline.embed import embed
from pipeline.job import plan
from pipeline.job.trial import Trial
from pipeline.output.feature_folder import FeatureFolder
from pipeline.verify import verify_folder
from transforms import write_account
from transforms.errors import SettingError
from transforms.features.folder_shards import ShardNotes
from transforms.vggish.precision import CHANGED_BYTES


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five good files and five bad ones; id -> reason of the bad."""
    folder = tmp_path_factory.mktemp("corpus")
    for n, (name, duration_s, rate_hz) in enumerate(
        [
            ("one.wav", 2.5, 16_000),
            ("-two.flac", 3.0, 22_050),
            ("on.ogg", 1.0, 44_100),
            ("three ü\n.wav", 1.5, 8_000),
            ("four.mp3", 4.0, 48_000),
        ]
    ):
        write_noise(folder / name, duration_s, rate_hz, seed=n)
    return folder, write_bad_files(folder)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "features"
    assert run.run([*TRIAL, f"--input={corpus[0]}/*", f"--output={output}"]) == 0
    return output


def test_every_good_clip_has_its_record(finished):
    records = read(finished)
    frames = {name: codes.shape for name, (_, codes) in records.items()}
    assert frames == {
        "one": (2, 128),
        "-two": (3, 128),
        "on": (1, 128),
        "three ü\n": (1, 128),
        "four": (4, 128),
    }
    assert all(codes.dtype == np.uint8 for _, codes in records.values())
    assert records["one"][0].end_s == 2.5 and records["one"][0].labels == ()


def test_short_clips_have_one_frame_if_they_are_padded(tmp_path, capsys):
    for name, duration_s in (("short", 0.3), ("long", 2.0), ("none", 0.0)):
        write_noise(tmp_path / "audio" / f"{name}.wav", duration_s, 22_050)
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={out}"]
    for _ in range(2):
        assert run.run([*flags, "--pad_short=zeros"]) == 0
    records = read(out)
    assert {name: len(codes) for name, (_, codes) in records.items()} == {"short": 1, "long": 2}
    assert records["short"][0].end_s == pytest.approx(0.3)
    (rejected,) = json_lines(out / "_run" / REJECTED)
    assert (rejected["id"], rejected["reason"]) == ("none", "too_short")
    for name in ("short", "long"):
        codes = embed(
            tmp_path / "audio" / f"{name}.wav", weights="random:0", pca_params="none", pad_short="zeros"
        )
        np.testing.assert_array_equal(codes, records[name][1])
    assert verify_folder(str(out), strict=True).problems == []
    assert "pad_short zeros, but this command has none" in refusal(flags)


def test_every_bad_clip_is_rejected_with_its_reason(corpus, finished):
    rejected = json_lines(finished / "_run" / REJECTED)
    assert {r["id"]: r["reason"] for r in rejected} == corpus[1]
    for line in rejected:
        assert line["stage"] == "extract_examples" and line["split"] == "train"
        assert line["file"].startswith(str(corpus[0])) and line["message"]


def test_the_portable_runner_writes_the_same_bytes(corpus, finished, tmp_path):
    """It serializes as much as a cluster would, and needs no Java."""
    portable = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]
    assert run.run([*TRIAL[1:], *portable, f"--input={corpus[0]}/*", f"--output={tmp_path}"]) == 0
    files = [path.relative_to(finished) for path in finished.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        if path.name not in ("log.txt", "manifest.json"):
            assert (tmp_path / path).read_bytes() == (finished / path).read_bytes(), path
    accounts = [
        json.loads((folder / "_run" / "manifest.json").read_text())["account"]
        for folder in (tmp_path, finished)
    ]
    assert accounts[0] == accounts[1]


def test_the_accelerators_front_end_gives_the_same_records_and_rejects(corpus, finished, tmp_path):
    flags = [*TRIAL, f"--input={corpus[0]}/*", "--frontend=accelerator"]
    assert run.run([*flags, f"--output={tmp_path}"]) == 0
    records, expected = read(tmp_path), read(finished)
    assert {name: segment for name, (segment, _) in records.items()} == {
        name: segment for name, (segment, _) in expected.items()
    }
    apart = np.concatenate([records[name][1].astype(int) - expected[name][1] for name in expected])
    assert np.abs(apart).max() <= 1 and (apart == 0).mean() >= 0.999
    assert json_lines(tmp_path / "_run" / REJECTED) == json_lines(finished / "_run" / REJECTED)
    with pytest.raises(SettingError, match="made with frontend cpu, but this command has accelerator"):
        run.run([*flags, f"--output={finished}"])


def test_soxr_changes_bytes_and_no_times(corpus, finished, tmp_path, monkeypatch):
    argv = [*TRIAL, f"--input={corpus[0]}/four.mp3", f"--output={tmp_path}", "--resampler=soxr"]
    assert run.run(argv) == 0
    (segment, codes), (expected_segment, expected) = read(tmp_path)["four"], read(finished)["four"]
    assert segment == expected_segment and codes.shape == expected.shape
    apart = np.abs(codes.astype(int) - expected)
    assert apart.any() and np.median(apart) <= 1
    assert json.loads((tmp_path / "_run" / "manifest.json").read_text())["settings"]["resampler"] == "soxr"
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(SettingError, match=r"soxr is not installed; pip install 'audioset-beam\[soxr\]'"):
        run.run(argv)


def test_the_manifest_has_options_versions_and_a_balanced_account(finished):
    manifest = json.loads((finished / "_run" / "manifest.json").read_text())
    assert manifest["runner"] == "FnApiRunner, in_memory, 1 worker"
    assert manifest["options"]["batch_size"] == 8 and manifest["options"]["beam_flags"] == [TRIAL[0]]
    assert manifest["assets"]["weights"] == {
        "path": "random:0",
        "sha256": None,
        "released": False,
        "address": None,
    }
    assert {"audioset-beam", "apache-beam", "keras", "resampy", "python"} <= set(manifest["versions"])
    assert manifest["account"] == {
        "expected": {"train": 10},
        "written": {"train": 5},
        "rejected": {"train": 5},
        "existing": {"train": 0},
        "rejected_by_reason": {"train": {"corrupt": 1, "not_audio": 2, "not_finite": 1, "too_short": 1}},
        "rejected_earlier": 0,
        "files_without_segment": 0,
        "segments_without_file": 0,
        "balanced": True,
        "lost": [],
    }
    assert manifest["clips"] == {"train": 5} and manifest["history"] == []


def test_the_folder_has_nothing_but_shards_and_the_runs_own_files(finished):
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    own = {f"_run/{name}" for name in ("log.txt", "manifest.json", "shards.jsonl", REJECTED, UNMATCHED)}
    shards = ("on", "-t", "th", "fo")
    own |= {f"_run/sources/train={p}.jsonl.gz" for p in shards}
    assert names == own | {f"train/{p}.tfrecord" for p in shards}


def test_verify_finds_the_folder_good(finished):
    assert verify_folder(str(finished), strict=True).problems == []


def test_quantized_raw_embeddings_equal_the_bytes(corpus, finished, tmp_path):
    argv = [*TRIAL, f"--input={corpus[0]}/one.wav", f"--output={tmp_path}", "--postprocess=raw"]
    assert run.run(argv) == 0
    raw = read(tmp_path)["one"][1]
    assert raw.dtype == np.float32
    codes = ((np.clip(raw.astype(np.float64), -2, 2) + 2) * 63.75).astype(np.uint8)
    np.testing.assert_array_equal(codes, read(finished)["one"][1])
    assert verify_folder(str(tmp_path)).problems == []


def test_precision_changes_some_bytes_and_a_line_states_how_many(corpus, finished, tmp_path, capsys):
    argv = [*TRIAL, f"--input={corpus[0]}/four.mp3", f"--output={tmp_path}", "--precision=bfloat16"]
    assert run.run(argv) == 0
    line = f"precision bfloat16: {CHANGED_BYTES['bfloat16']}"
    assert line in capsys.readouterr().out.splitlines() and "of the bytes on real audio" in line
    rounded, codes = read(tmp_path)["four"][1], read(finished)["four"][1]
    apart = np.abs(rounded.astype(int) - codes)
    assert apart.any() and apart.max() <= CHANGED_BYTES["bfloat16"].worst
    manifest = json.loads((tmp_path / "_run" / "manifest.json").read_text())
    assert manifest["settings"]["precision"] == "bfloat16"


def test_hop_gives_more_frames(corpus, tmp_path):
    argv = [*TRIAL, f"--input={corpus[0]}/one.wav", f"--output={tmp_path}", "--example_hop_seconds=0.48"]
    assert run.run(argv) == 0
    assert read(tmp_path)["one"][1].shape == (4, 128)
    assert verify_folder(str(tmp_path)).problems == []


def test_segments_give_split_times_and_labels(tmp_path, capsys):
    audio = tmp_path / "audio"
    write_noise(audio / "-abc_0000000.wav", 8.0)  # a soundtrack
    write_noise(audio / "Yabc-0000001_30000_33000.wav", 3.2)  # cut already
    write_noise(audio / "stranger.wav", 2.0)
    labels = tmp_path / "labels.csv"
    labels.write_text("index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n")
    evaluation, mine = tmp_path / "eval_segments.csv", tmp_path / "mine.csv"
    evaluation.write_text('# YTID\n-abc_0000000, 2.000, 5.000, "/m/b,/m/a"\n')
    mine.write_text('abc-0000001, 30.000, 33.000, "/m/b"\nnofile, 0.000, 10.000, "/m/a"\n')
    output = tmp_path / "out"
    argv = [
        *TRIAL,
        f"--input={audio}/*",
        f"--output={output}",
        f"--segments={evaluation}",
        f"--segments=mine={mine}",
        f"--class_labels={labels}",
    ]
    assert run.run(argv) == 0
    records = read(output)
    one, two = records["-abc_0000000"], records["abc-0000001"]
    assert (one[0].split, one[0].start_s, one[0].end_s, one[0].labels) == ("eval", 2.0, 5.0, (0, 7))
    assert (two[0].split, two[0].start_s, two[0].end_s, two[0].labels) == ("mine", 30.0, 33.0, (7,))
    assert (len(one[1]), len(two[1])) == (3, 3)
    unmatched = json_lines(output / "_run" / UNMATCHED)
    assert {line["kind"]: line.get("id") or line["file"] for line in unmatched} == {
        "file_without_segment": f"{audio}/stranger.wav",
        "segment_without_file": "nofile",
    }
    printed = capsys.readouterr().out
    assert "runner: FnApiRunner, in_memory, 1 worker\n" in printed
    assert "clips expected 2 = written 2 + rejected 0 + existing 0" in printed
    assert "files without a segment: 1" in printed and "segments without a file: 1" in printed


def test_a_name_that_is_not_utf8_costs_only_its_clip(tmp_path):
    audio = tmp_path / "audio"
    write_noise(audio / "good.wav", 1.0)
    try:
        (audio / os.fsdecode(b"caf\xe9.wav")).write_bytes((audio / "good.wav").read_bytes())
    except OSError:
        pytest.skip("this disk takes only UTF-8 names")
    assert run.run([*TRIAL, f"--input={audio}/*", f"--output={tmp_path}/out"]) == 0
    (rejected,) = json_lines(tmp_path / "out" / "_run" / REJECTED)
    assert rejected["reason"] == "unreadable" and "rename it" in rejected["message"]
    assert set(read(tmp_path / "out")) == {"good"}


def test_mistakes_stop_the_run_before_any_work(corpus, finished, tmp_path):
    good = [f"--input={corpus[0]}/*", f"--output={tmp_path}/out", *TRIAL]
    (tmp_path / "file").touch()
    (tmp_path / "other.csv").touch()
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    np.savez(tmp_path / "pca.npz", pca_eigen_vectors=np.eye(64), pca_means=np.zeros((64, 1)))
    bad_flags = {
        f"--input={tmp_path}/none*.wav": "matches no file",
        f"--input={tmp_path}": "matches no file",
        f"--output={tmp_path}/file/out": "cannot be written",
        f"--output={finished}": "made with weights random:0, but this command has random:1",
        f"--pca_params={tmp_path}/pca.npz": "shape [64, 64], not [128, 128]",
        f"--weights={tmp_path}/text.ckpt": "cannot be read as a checkpoint",
        f"--weights={tmp_path}/none.ckpt": "no such file",
        "--weights=random:one": "'one' is not a seed",
        "--split=../up": "a split names a folder",
        "--split=_run": "a split names a folder",
        "--batch_size=0": "give 1 to 4096",
        "--example_hop_seconds=0": "give 0.01 to 3600.0 s",
        "--example_hop_seconds=nan": "give 0.01 to 3600.0 s",
        "--id_pattern=(": "not a valid regular expression",
        "--id_pattern=x": "no group named id",
        f"--segments={tmp_path}/other.csv": f"--segments=SPLIT={tmp_path}/other.csv",
        "--runner=NoRunner": "NoRunner",
    }
    for flag, message in bad_flags.items():
        others = ["--weights=random:1"] if str(finished) in flag else []
        assert message in refusal([*good, flag, *others]), flag
    assert not any(tmp_path.rglob("*.tfrecord"))


def test_a_plan_refuses_other_settings_unless_the_run_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "try_clips", lambda config: Trial(0.0, 0, 0.0, 1.0, 0))
    write_noise(tmp_path / "ab1.wav", 1.0)
    out = tmp_path / "out"
    (out / "train").mkdir(parents=True)
    (out / "train" / "ab.tfrecord").touch()
    ShardNotes(str(out)).begin(["train/ab.tfrecord"])
    (out / "_run" / "manifest.json").write_text('{"settings": {"weights": "random:1"}}')
    flags = [*TRIAL, "--plan", f"--input={tmp_path}/*.wav", f"--output={out}"]
    assert "weights random:1, but this command has random:0" in refusal(flags)
    assert run.run([*flags, "--overwrite"]) == 0
    assert "1 shard; the run deletes all shards first" in capsys.readouterr().out


def test_earlier_rejects_count_for_the_number_of_files_of_a_list(tmp_path, monkeypatch):
    """Files of another number are of an earlier run, and are deleted."""
    monkeypatch.setattr(write_account, "_FILE_LINES", 2)
    (tmp_path / "_run").mkdir()
    lists = [
        f"{name}-{n:05d}-of-{count:05d}.jsonl"
        for name in ("rejected", "unmatched")
        for count in (1, 2)
        for n in range(count)
    ]
    for name in lists:
        (tmp_path / "_run" / name).touch()
    counts = [["train", "rejected:corrupt", 1], ["train", "rejected_earlier", 2]]
    counts += [["", "file_without_segment", 1], ["eval", "segment_without_file", 2]]
    (tmp_path / "_run" / "account.json").write_text(json.dumps({"counts": counts, "lost": []}))
    account, shards = run._close_lists(FeatureFolder.at(str(tmp_path)))
    assert account.total("rejected:") == 1 and shards == []
    left = {path.name for path in (tmp_path / "_run").iterdir()}
    assert left - {"account.json", "shards.jsonl"} == {name for name in lists if "-of-00002" in name}
