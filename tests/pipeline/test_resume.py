"""Runs into a folder that has features already: what is there is not made again, and bytes stay the same."""

import json
import shutil

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from sounds import write_bad_files, write_noise
from trial_runs import REJECTED, TRIAL, UNMATCHED, account, json_lines, read, refusal, shards, totals

from pipeline import run
from pipeline.make_shards import run as make_shards
from pipeline.verify import verify_folder
from transforms import extract_examples, rejects
from transforms.audio.decoder_versions import decoder_settings, decoder_versions

LABELS = "index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n"


@pytest.fixture
def corpus(tmp_path):
    """Four good files and five bad ones."""
    for n, name in enumerate(("ab1.wav", "ab2.wav", "ac1.wav", "ac2.flac")):
        write_noise(tmp_path / "audio" / name, 1.0 + n, seed=n)
    write_bad_files(tmp_path / "audio")
    return tmp_path / "audio"


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The ids of clips whose log-mel examples were computed."""
    names = []
    compute = extract_examples.chunk_clip

    def counted(clip, *arguments):
        names.append(clip.video_id)
        return compute(clip, *arguments)

    monkeypatch.setattr(extract_examples, "chunk_clip", counted)
    return names


def test_a_second_run_computes_nothing_that_is_there(corpus, tmp_path, computed):
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    first = shards(tmp_path / "out")
    rejected = (tmp_path / "out" / "_run" / REJECTED).read_bytes()
    computed.clear()
    assert run.run(flags) == 0
    assert shards(tmp_path / "out") == first
    assert totals(tmp_path / "out") == (9, 0, 5, 4)
    assert set(computed) <= {"short", "truncated", "nan"}  # rejected clips are tried again
    assert (tmp_path / "out" / "_run" / REJECTED).read_bytes() == rejected
    manifest = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())
    assert [entry["account"]["written"] for entry in manifest["history"]] == [{"train": 4}]
    assert manifest["clips"] == {"train": 4}
    assert verify_folder(str(tmp_path / "out"), strict=True).problems == []


def test_a_job_that_is_handed_over_is_closed_by_the_same_command(corpus, tmp_path, computed, capsys):
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={tmp_path}/out"]
    assert run.run([*flags, "--no_wait_until_finish"]) == 0
    assert "the job is submitted" in capsys.readouterr().out
    manifest = tmp_path / "out" / "_run" / "manifest.json"
    assert json.loads(manifest.read_text())["finished"] is None
    assert not (tmp_path / "out" / "_run" / "lock.json").exists()
    computed.clear()
    assert run.run(flags) == 0
    assert totals(tmp_path / "out") == (9, 0, 5, 4)
    assert set(computed) <= {"short", "truncated", "nan"}


def test_new_clips_go_among_the_old_ones_and_lists_keep_what_is_not_tried(corpus, tmp_path, computed):
    expected = tmp_path / "at_once"
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={expected}"]) == 0
    out = tmp_path / "out"
    first = [f"--input={corpus}/{name}" for name in ("ab2.wav", "ac1.wav", "text.wav")]
    assert run.run([*TRIAL, *first, f"--output={out}"]) == 0
    computed.clear()
    rest = [p for p in corpus.iterdir() if p.name not in ("ab2.wav", "text.wav")]
    assert run.run([*TRIAL, *[f"--input={path}" for path in rest], f"--output={out}"]) == 0
    assert {"ab1", "ac2"} <= set(computed) and not {"ab2", "ac1"} & set(computed)
    assert shards(out) == shards(expected)
    assert (out / "_run" / REJECTED).read_bytes() == (expected / "_run" / REJECTED).read_bytes()
    assert (out / "_run" / "shards.jsonl").read_bytes() == (expected / "_run" / "shards.jsonl").read_bytes()
    assert account(out)["rejected_earlier"] == 1


def test_other_settings_are_refused_and_overwrite_starts_anew(corpus, tmp_path):
    good = [f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out", "--runner=FnApiRunner"]
    made = ["--weights=random:0", "--pca_params=none"]
    assert run.run([*good, *made]) == 0
    eigenvectors = {"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros((128, 1))}
    np.savez(tmp_path / "pca.npz", **eigenvectors)
    for flags, difference in (
        (["--weights=random:1", "--pca_params=none"], "weights random:0, but this command has random:1"),
        (["--weights=random:0", f"--pca_params={tmp_path}/pca.npz"], "pca_params None, but this command has"),
        ([*made, "--precision=bfloat16"], "precision float32, but this command has bfloat16"),
        ([*made, "--resampler=soxr"], "resampler resampy, but this command has soxr"),
        ([*made, "--postprocess=raw"], "postprocess quantized, but this command has raw"),
        ([*made, "--example_hop_seconds=0.48"], "example_hop_seconds 0.96, but this command has 0.48"),
        ([*made, "--segment_seconds=2"], "segment_seconds None, but this command has 2.0"),
        ([*made, "--sharding=hash:2"], "sharding audioset, but this command has hash:2"),
    ):
        message = refusal([*good, *flags])
        assert difference in message and "--overwrite" in message
    other = [f"--input={corpus}/ac1.wav", *good[1:], "--weights=random:1", "--pca_params=none", "--overwrite"]
    assert run.run(other) == 0
    assert set(read(tmp_path / "out")) == {"ac1"}
    manifest = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())
    assert manifest["history"] == [] and manifest["settings"]["weights"] == "random:1"


def test_features_made_before_there_was_a_choice_are_of_the_defaults(corpus, tmp_path):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    path = tmp_path / "out" / "_run" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("precision", "resampler", "frontend", "quantization_range", "decoders"):
        del manifest["settings"][name]
    path.write_text(json.dumps(manifest))
    assert "precision float32, but this command has float16" in refusal([*flags, "--precision=float16"])
    assert run.run(flags) == 0
    assert totals(tmp_path / "out") == (1, 0, 0, 1)


def test_features_of_another_decoder_are_refused_and_those_of_a_patch_are_not(corpus, tmp_path, monkeypatch):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    manifest = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())
    assert manifest["settings"]["decoders"] == decoder_settings()
    assert manifest["versions"].items() >= decoder_versions().items()
    monkeypatch.setattr(soundfile, "__libsndfile_version__", soundfile.__libsndfile_version__ + "9")
    assert run.run(flags) == 0
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "1.99.0")
    assert "'libsndfile': '1.99'" in refusal(flags)


def test_features_that_nobody_knows_the_making_of_are_left_alone(corpus, tmp_path):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    (tmp_path / "out" / "_run" / "manifest.json").unlink()
    for extra in ([], ["--overwrite"]):
        assert "no _run/manifest.json with their settings" in refusal([*flags, *extra])
    shutil.rmtree(tmp_path / "out" / "_run")
    for extra in ([], ["--overwrite"]):
        assert "train/ab.tfrecord has the path of a shard that this run may write, but" in refusal(
            [*flags, *extra]
        )
    assert set(read(tmp_path / "out")) == {"ab1"}
    (tmp_path / "out" / "_run").mkdir(exist_ok=True)
    (tmp_path / "out" / "_run" / "manifest.json").write_text("{")
    assert "restore or remove it" in refusal(flags)


def test_a_clip_whose_times_or_labels_changed_is_made_anew(tmp_path, computed):
    for name in ("abc", "abd"):
        write_noise(tmp_path / "audio" / f"{name}.wav", 8.0)
    (tmp_path / "labels.csv").write_text(LABELS)
    csv = tmp_path / "mine.csv"
    flags = [
        *TRIAL,
        f"--input={tmp_path}/audio/*",
        f"--output={tmp_path}/out",
        f"--segments=mine={csv}",
        f"--class_labels={tmp_path}/labels.csv",
    ]
    rows = 'abc, 0.000, 3.000, "/m/a"\nabd, 0.000, 3.000, "/m/a"\nabd, 4.000, 7.000, "/m/a"\n'
    csv.write_text(rows)
    assert run.run(flags) == 0
    computed.clear()
    csv.write_text(
        rows.replace('4.000, 7.000, "/m/a"', '4.000, 7.000, "/m/b"').replace("abc, 0.000, 3", "abc, 0.000, 5")
    )
    assert run.run(flags) == 0
    assert sorted(computed) == ["abc", "abd"]
    assert totals(tmp_path / "out") == (3, 2, 0, 1)
    segment, frames = read(tmp_path / "out")["abc"]
    assert segment.end_s == 5.0 and len(frames) == 5
    assert verify_folder(str(tmp_path / "out"), strict=True).problems == []


def test_a_recording_that_was_cut_is_there_with_all_its_clips(tmp_path, computed):
    for n, seconds in enumerate((7.0, 4.0, 4.5)):
        write_noise(tmp_path / "audio" / f"x{n}.wav", seconds, seed=n)
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out", "--segment_seconds=2"]
    assert run.run(flags) == 0
    expected = shards(tmp_path / "out")
    assert totals(tmp_path / "out") == (8, 8, 0, 0)
    computed.clear()
    assert run.run(flags) == 0
    assert computed == [] and totals(tmp_path / "out") == (8, 0, 0, 8)
    # One that is longer now has new clips, and its old partial one is another.
    write_noise(tmp_path / "audio" / "x1.wav", 6.0, seed=1)
    assert run.run(flags) == 0
    assert totals(tmp_path / "out") == (9, 1, 0, 8)
    assert computed == ["x1"]
    assert shards(tmp_path / "out").keys() == expected.keys()


@pytest.mark.parametrize("kind", ["files", "tar"])
def test_input_rejects_tries_just_those_again(corpus, tmp_path, computed, kind):
    inputs = f"{corpus}/*"
    if kind == "tar":
        packing = [f"--input={inputs}", f"--output={tmp_path}/packed", "--format=tar"]
        assert make_shards([*packing, "--runner=FnApiRunner"]) == 0
        inputs = f"{tmp_path}/packed/*.tar"
    out = tmp_path / "out"
    assert run.run([*TRIAL, f"--input={inputs}", f"--output={out}"]) == 0
    again = f"--input_rejects={out}/_run/rejected-*"
    computed.clear()
    assert run.run([*TRIAL, again, f"--output={out}"]) == 0
    assert totals(out) == (5, 0, 5, 0) and set(computed) <= {"short", "truncated", "nan"}
    assert len(json_lines(out / "_run" / REJECTED)) == 5
    if kind == "files":
        write_noise(corpus / "short.wav", 2.0)
        assert run.run([*TRIAL, again, f"--output={out}"]) == 0
        assert totals(out) == (5, 1, 4, 0) and "short" in read(out)
        assert {r["id"] for r in json_lines(out / "_run" / REJECTED)} == {"text", "empty", "truncated", "nan"}
        # Into another folder: those alone.
        assert run.run([*TRIAL, again, f"--output={tmp_path}/other"]) == 0
        assert totals(tmp_path / "other") == (4, 0, 4, 0)
    for bad, message in (
        (f"--input_rejects={tmp_path}/none", "matches no file"),
        (f"--input_rejects={corpus}/text.wav", "line 1"),
    ):
        assert message in refusal([*TRIAL, bad, f"--output={tmp_path}/more"])


@pytest.fixture
def doing_all_twice(monkeypatch):
    """The engine loses its workers when all is done, and does it again in new ones."""
    build, make = run.build_graph, run.build_job

    def make_and_do(*arguments):
        with beam.Pipeline(runner="FnApiRunner") as first:
            build(first, make(*arguments))
        rejects._read_index.cache_clear()
        return make(*arguments)

    monkeypatch.setattr(run, "build_job", make_and_do)


@pytest.mark.parametrize("sharding", ["audioset", "hash:3"])
def test_work_that_is_done_twice_is_counted_and_listed_once(corpus, tmp_path, doing_all_twice, sharding):
    out, flags = tmp_path / "out", [*TRIAL, f"--sharding={sharding}"]
    assert run.run([*flags, f"--input={corpus}/*", f"--output={tmp_path}/at_once"]) == 0
    first = [f"--input={corpus}/{name}" for name in ("ab1.wav", "text.wav", "empty.wav")]
    assert run.run([*flags, *first, f"--output={out}"]) == 0
    assert totals(out) == (3, 1, 2, 0)
    assert run.run([*flags, f"--input={corpus}/*", f"--output={out}"]) == 0
    assert totals(out) == (9, 3, 5, 1)
    write_noise(corpus / "short.wav", 2.0)
    assert run.run([*flags, f"--input_rejects={out}/_run/rejected-*", f"--output={out}"]) == 0
    assert totals(out) == (5, 1, 4, 0)
    assert run.run([*flags, f"--input={corpus}/*", f"--output={tmp_path}/at_once"]) == 0
    assert shards(out) == shards(tmp_path / "at_once")
    for name in (REJECTED, "shards.jsonl"):
        assert (out / "_run" / name).read_bytes() == (tmp_path / "at_once" / "_run" / name).read_bytes()
    known = {REJECTED, UNMATCHED, "shards.jsonl", "manifest.json", "sources"}
    assert {path.name for path in (out / "_run").iterdir()} == known


def test_too_many_rejects_are_status_4_and_all_else_is_written(corpus, tmp_path, capsys):
    flags = [f"--input={corpus}/*", f"--output={tmp_path}/out", *TRIAL]
    assert run.run([*flags, "--max_reject_fraction=0.5"]) == 4
    assert "rejected 55.6% of the clips, more than --max_reject_fraction=0.5" in capsys.readouterr().out
    assert len(read(tmp_path / "out")) == 4
    assert run.run([*flags, "--max_reject_fraction=0.6"]) == 0
    assert "give 0 to 1" in refusal([*flags, "--max_reject_fraction=5"])


def test_an_account_that_does_not_close_is_status_3_and_names_the_clip(corpus, tmp_path, capsys, monkeypatch):
    from transforms import write_features

    assemble = write_features.assemble_clips

    def losing(chunks, schema):
        return [clip for clip in assemble(chunks, schema) if clip.chunk.video_id != "ab2"]

    monkeypatch.setattr(write_features, "assemble_clips", losing)
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={tmp_path}/out"]
    assert run.run(flags) == 3
    assert "THE COUNTS DO NOT ADD UP for train/ab2 at 0.0 s" in capsys.readouterr().out
    assert account(tmp_path / "out")["lost"] == [["train", "ab2", 0, 1]]
    monkeypatch.undo()
    assert run.run(flags) == 0
    assert "ab2" in read(tmp_path / "out")


def test_what_killed_runs_left_is_cleared_away(corpus, tmp_path):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    left = [tmp_path / "out" / folder / f".ab.tfrecord.{'0' * 32}.tmp" for folder in ("train", "_run")]
    kept = tmp_path / "out" / "train" / ".notes.tmp"
    for path in (*left, kept):
        path.write_bytes(b"half")
    assert run.run(flags) == 0
    assert not any(path.exists() for path in left) and kept.exists()


def test_a_damaged_list_is_one_line(corpus, tmp_path):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    (tmp_path / "out" / "_run" / REJECTED).write_text("{\n")
    assert f"{REJECTED}, line 1: " in refusal(flags)


def test_a_damaged_shard_is_named_and_nothing_is_lost(corpus, tmp_path, capsys):
    from pipeline.cli.console import run_command

    flags = [*TRIAL, f"--input={corpus}/*", f"--output={tmp_path}/out"]
    assert run.run(flags) == 0
    expected = shards(tmp_path / "out")
    damaged = tmp_path / "out" / "train" / "ab.tfrecord"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert run_command("pipeline.run", lambda: run.run(flags)) == 1
    error = capsys.readouterr().err
    assert f"{damaged}: is damaged or cannot be read" in error and "remove it" in error
    assert "Traceback" not in error
    damaged.unlink()
    assert run.run(flags) == 0
    assert shards(tmp_path / "out") == expected


def test_youtube8ms_keys_are_a_setting_that_verify_and_later_runs_know(corpus, tmp_path, computed):
    out, other = tmp_path / "out", tmp_path / "other"
    flags = [*TRIAL, f"--output={out}", "--output_schema=youtube8m"]
    assert run.run([*flags, f"--input={corpus}/ab1.wav", f"--input={corpus}/ac1.wav"]) == 0
    computed.clear()
    assert run.run([*flags, f"--input={corpus}/a*"]) == 0
    assert sorted(computed) == ["ab2", "ac2"] and totals(out) == (4, 2, 0, 2)
    for data in shards(out).values():
        assert b"\x05audio" in data and b"audio_embedding" not in data and b"video_id" not in data
    assert verify_folder(str(out), strict=True).problems == []
    assert run.run([*TRIAL, f"--input={corpus}/a*", f"--output={other}"]) == 0
    assert {name: (s.end_s, codes.tobytes()) for name, (s, codes) in read(out).items()} == {
        name: (s.end_s, codes.tobytes()) for name, (s, codes) in read(other).items()
    }
    assert "made with output_schema youtube8m, but this command has audioset" in refusal(
        [*TRIAL, f"--input={corpus}/a*", f"--output={out}"]
    )
    assert "leave out --postprocess=raw" in refusal([*flags, f"--input={corpus}/a*", "--postprocess=raw"])
    # Without its manifest nobody can tell that other keys were meant.
    (out / "_run" / "manifest.json").unlink()
    faults = verify_folder(str(out)).problems
    assert len(faults) == 2 * 4 and "context keys are ['end_time_seconds', 'id', 'labels'" in faults[0]


def test_a_numbered_shard_without_a_clip_that_is_missing_is_made_again(corpus, tmp_path):
    """As after a run that was killed when all clips were written, and not yet the shards that have none."""
    flags = [*TRIAL, f"--input={corpus}/ab*", f"--output={tmp_path}/out", "--sharding=hash:5"]
    assert run.run(flags) == 0
    before = shards(tmp_path / "out")
    empty = [name for name, data in before.items() if not data]
    assert len(before) == 5 and len(empty) >= 3
    (tmp_path / "out" / empty[0]).unlink()
    assert run.run(flags) == 0
    assert shards(tmp_path / "out") == before and totals(tmp_path / "out") == (2, 0, 0, 2)
