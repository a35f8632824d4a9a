"""Runs into a folder that already has features: existing ones are skipped, and bytes stay the same."""

import json
import shutil

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from sounds import write_bad_files, write_noise
from trial_runs import REJECTED, TRIAL, UNMATCHED, account, json_lines, read, refusal, shards, totals

from pipeline import run
from pipeline.cli.console import run_command
from pipeline.make_shards import run as make_shards
from pipeline.verify import verify_folder
from transforms import extract_examples, rejects
from transforms.audio.decoder_versions import decoder_settings, decoder_versions

pytestmark = pytest.mark.usefixtures("stand_in_network")

LABELS = "index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n"


def write_corpus(folder):
    """Four good files and five bad ones."""
    for n, name in enumerate(("ab1.wav", "ab2.wav", "ac1.wav", "ac2.flac")):
        write_noise(folder / name, 1.0 + n, seed=n)
    write_bad_files(folder)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def own_corpus(tmp_path):
    """A corpus to change."""
    return write_corpus(tmp_path / "audio")


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The folder of a run over the corpus."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def finished_one(corpus, tmp_path_factory):
    """The folder of a run over one file."""
    folder = tmp_path_factory.mktemp("one") / "out"
    assert run.run([*TRIAL, f"--input={corpus}/ab1.wav", f"--output={folder}"]) == 0
    return folder


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "out")


@pytest.fixture
def out_of_one(finished_one, tmp_path):
    return shutil.copytree(finished_one, tmp_path / "out")


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


def test_a_second_run_skips_clips_that_have_features(corpus, finished, out, computed):
    assert run.run([*TRIAL, f"--input={corpus}/*", f"--output={out}"]) == 0
    assert shards(out) == shards(finished)
    assert totals(out) == (9, 0, 5, 4)
    assert set(computed) <= {"short", "truncated", "nan"}  # rejected clips are tried again
    assert (out / "_run" / REJECTED).read_bytes() == (finished / "_run" / REJECTED).read_bytes()
    manifest = json.loads((out / "_run" / "manifest.json").read_text())
    assert [entry["account"]["written"] for entry in manifest["history"]] == [{"train": 4}]
    assert manifest["clips"] == {"train": 4}
    assert verify_folder(str(out), strict=True).problems == []


def test_the_same_command_finishes_a_submitted_job(corpus, tmp_path, computed, capsys):
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


def test_new_clips_are_merged_and_lists_keep_rejects_that_are_not_tried(corpus, finished, tmp_path, computed):
    out = tmp_path / "out"
    first = [f"--input={corpus}/{name}" for name in ("ab2.wav", "ac1.wav", "text.wav")]
    assert run.run([*TRIAL, *first, f"--output={out}"]) == 0
    computed.clear()
    rest = [p for p in corpus.iterdir() if p.name not in ("ab2.wav", "text.wav")]
    assert run.run([*TRIAL, *[f"--input={path}" for path in rest], f"--output={out}"]) == 0
    assert {"ab1", "ac2"} <= set(computed) and not {"ab2", "ac1"} & set(computed)
    assert shards(out) == shards(finished)
    for name in (REJECTED, "shards.jsonl"):
        assert (out / "_run" / name).read_bytes() == (finished / "_run" / name).read_bytes()
    assert account(out)["rejected_earlier"] == 1


def test_other_settings_are_refused_and_overwrite_starts_again(corpus, out_of_one, tmp_path):
    good = [f"--input={corpus}/ab1.wav", f"--output={out_of_one}", "--runner=FnApiRunner"]
    made = ["--weights=random:0", "--pca_params=none"]
    eigenvectors = {"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros((128, 1))}
    np.savez(tmp_path / "pca.npz", **eigenvectors)
    for flags, difference in (
        (["--weights=random:1", "--pca_params=none"], "weights random:0, but this command has random:1"),
        (["--weights=random:0", f"--pca_params={tmp_path}/pca.npz"], "pca_params none, but this command has"),
        ([*made, "--precision=bfloat16"], "precision float32, but this command has bfloat16"),
        ([*made, "--resampler=soxr"], "resampler resampy, but this command has soxr"),
        ([*made, "--postprocess=raw"], "postprocess quantized, but this command has raw"),
        ([*made, "--example_hop_seconds=0.48"], "example_hop_seconds 0.96, but this command has 0.48"),
        ([*made, "--segment_seconds=2"], "segment_seconds none, but this command has 2.0"),
        ([*made, "--sharding=hash:2"], "sharding audioset, but this command has hash:2"),
    ):
        message = refusal([*good, *flags])
        assert difference in message and "--overwrite" in message
    other = [f"--input={corpus}/ac1.wav", *good[1:], "--weights=random:1", "--pca_params=none", "--overwrite"]
    assert run.run(other) == 0
    assert set(read(out_of_one)) == {"ac1"}
    manifest = json.loads((out_of_one / "_run" / "manifest.json").read_text())
    assert manifest["history"] == [] and manifest["settings"]["weights"] == "random:1"


def test_overwrite_leaves_nothing_of_earlier_runs_in_the_lists(corpus, out):
    flags = [*TRIAL, f"--input={corpus}/ac1.wav", f"--output={out}", "--overwrite"]
    assert run.run(flags) == 0
    assert totals(out) == (1, 1, 0, 0) and account(out)["rejected_earlier"] == 0
    assert json_lines(out / "_run" / REJECTED) == []
    assert [line["path"] for line in json_lines(out / "_run" / "shards.jsonl")] == ["train/ac.tfrecord"]
    assert [path.name for path in (out / "_run" / "sources").iterdir()] == ["train=ac.jsonl.gz"]
    assert list(shards(out)) == ["train/ac.tfrecord"]


def test_features_made_before_there_was_a_choice_have_the_defaults(corpus, out_of_one):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={out_of_one}"]
    path = out_of_one / "_run" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in (*("precision", "resampler", "frontend", "quantization_range", "decoders", "output_schema"),):
        del manifest["settings"][name]
    path.write_text(json.dumps(manifest))
    assert "precision float32, but this command has float16" in refusal([*flags, "--precision=float16"])
    assert run.run(flags) == 0
    assert totals(out_of_one) == (1, 0, 0, 1)


def test_features_of_another_decoder_are_refused_and_those_of_a_patch_are_not(
    corpus, out_of_one, monkeypatch
):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={out_of_one}"]
    manifest = json.loads((out_of_one / "_run" / "manifest.json").read_text())
    assert manifest["settings"]["decoders"] == decoder_settings()
    assert manifest["versions"].items() >= decoder_versions().items()
    monkeypatch.setattr(soundfile, "__libsndfile_version__", soundfile.__libsndfile_version__ + "9")
    assert run.run(flags) == 0
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "1.99.0")
    assert "'libsndfile': '1.99'" in refusal(flags)


def test_features_with_unknown_settings_are_left_alone(corpus, out_of_one):
    flags = [*TRIAL, f"--input={corpus}/ab1.wav", f"--output={out_of_one}"]
    (out_of_one / "_run" / "manifest.json").unlink()
    for extra in ([], ["--overwrite"]):
        assert "no _run/manifest.json with their settings" in refusal([*flags, *extra])
    shutil.rmtree(out_of_one / "_run")
    for extra in ([], ["--overwrite"]):
        assert "train/ab.tfrecord has the path of a shard that this run may write, but" in refusal(
            [*flags, *extra]
        )
    assert set(read(out_of_one)) == {"ab1"}
    (out_of_one / "_run").mkdir(exist_ok=True)
    (out_of_one / "_run" / "manifest.json").write_text("{")
    assert "restore or remove it" in refusal(flags)


def test_a_clip_with_new_times_or_labels_is_computed_again(tmp_path, computed):
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


def test_all_clips_of_a_cut_recording_exist_for_the_next_run(tmp_path, computed):
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
def test_input_rejects_tries_only_these_clips_again(own_corpus, tmp_path, computed, kind):
    inputs = f"{own_corpus}/*"
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
        write_noise(own_corpus / "short.wav", 2.0)
        assert run.run([*TRIAL, again, f"--output={out}"]) == 0
        assert totals(out) == (5, 1, 4, 0) and "short" in read(out)
        assert {r["id"] for r in json_lines(out / "_run" / REJECTED)} == {"text", "empty", "truncated", "nan"}
        # Into another folder: those alone.
        assert run.run([*TRIAL, again, f"--output={tmp_path}/other"]) == 0
        assert totals(tmp_path / "other") == (4, 0, 4, 0)
    for bad, message in (
        (f"--input_rejects={tmp_path}/none", "matches no file"),
        (f"--input_rejects={own_corpus}/text.wav", "line 1"),
    ):
        assert message in refusal([*TRIAL, bad, f"--output={tmp_path}/more"])


@pytest.fixture
def doing_all_twice(monkeypatch):
    """The engine loses its workers when everything is done, and repeats it in new ones."""
    build, make = run.build_graph, run.build_job

    def make_and_do(*arguments):
        with beam.Pipeline(runner="FnApiRunner") as first:
            build(first, make(*arguments))
        rejects._read_index.cache_clear()
        return make(*arguments)

    monkeypatch.setattr(run, "build_job", make_and_do)


@pytest.mark.parametrize("sharding", ["audioset", "hash:3"])
def test_repeated_work_is_counted_and_listed_once(
    own_corpus, tmp_path, monkeypatch, doing_all_twice, sharding
):
    out, flags = tmp_path / "out", [*TRIAL, f"--sharding={sharding}"]
    first = [f"--input={own_corpus}/{name}" for name in ("ab1.wav", "text.wav", "empty.wav")]
    assert run.run([*flags, *first, f"--output={out}"]) == 0
    assert totals(out) == (3, 1, 2, 0)
    assert run.run([*flags, f"--input={own_corpus}/*", f"--output={out}"]) == 0
    assert totals(out) == (9, 3, 5, 1)
    write_noise(own_corpus / "short.wav", 2.0)
    assert run.run([*flags, f"--input_rejects={out}/_run/rejected-*", f"--output={out}"]) == 0
    assert totals(out) == (5, 1, 4, 0)
    monkeypatch.undo()
    assert run.run([*flags, f"--input={own_corpus}/*", f"--output={tmp_path}/at_once"]) == 0
    assert shards(out) == shards(tmp_path / "at_once")
    for name in (REJECTED, "shards.jsonl"):
        assert (out / "_run" / name).read_bytes() == (tmp_path / "at_once" / "_run" / name).read_bytes()
    known = {REJECTED, UNMATCHED, "shards.jsonl", "manifest.json", "log.txt", "sources"}
    assert {path.name for path in (out / "_run").iterdir()} == known


def test_too_many_rejects_are_status_4_and_the_others_are_written(corpus, tmp_path, capsys):
    bad = [f"--input={corpus}/{name}.wav" for name in ("text", "empty", "short")]
    flags = [f"--input={corpus}/ab*", *bad, f"--output={tmp_path}/out", *TRIAL]
    assert run.run([*flags, "--max_reject_fraction=0.5"]) == 4
    assert "rejected 60.0% of the clips, more than --max_reject_fraction=0.5" in capsys.readouterr().out
    assert len(read(tmp_path / "out")) == 2
    assert run.run([*flags, "--max_reject_fraction=0.6"]) == 0
    assert "give 0 to 1" in refusal([*flags, "--max_reject_fraction=5"])


def test_an_unbalanced_account_is_status_3_and_names_the_clip(corpus, tmp_path, capsys, monkeypatch):
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


def test_leftovers_of_killed_runs_are_deleted(corpus, out_of_one):
    left = [out_of_one / folder / f".ab.tfrecord.{'0' * 32}.tmp" for folder in ("train", "_run")]
    kept = out_of_one / "train" / ".notes.tmp"
    for path in (*left, kept):
        path.write_bytes(b"half")
    assert run.run([*TRIAL, f"--input={corpus}/ab1.wav", f"--output={out_of_one}"]) == 0
    assert not any(path.exists() for path in left) and kept.exists()


def test_a_damaged_list_is_one_line(corpus, out_of_one):
    (out_of_one / "_run" / REJECTED).write_text("{\n")
    assert f"{REJECTED}, line 1: " in refusal([*TRIAL, f"--input={corpus}/ab1.wav", f"--output={out_of_one}"])


def test_a_damaged_shard_is_named_and_nothing_is_lost(corpus, finished, out, capsys):
    flags = [*TRIAL, f"--input={corpus}/*", f"--output={out}"]
    damaged = out / "train" / "ab.tfrecord"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert run_command("pipeline.run", lambda: run.run(flags)) == 1
    error = capsys.readouterr().err
    assert f"{damaged}: is damaged or cannot be read" in error and "remove it" in error
    assert "Traceback" not in error
    damaged.unlink()
    assert run.run(flags) == 0
    assert shards(out) == shards(finished)


def test_youtube8ms_keys_are_a_setting_that_verify_and_later_runs_use(corpus, finished, tmp_path, computed):
    out = tmp_path / "out"
    flags = [*TRIAL, f"--output={out}", "--output_schema=youtube8m"]
    assert run.run([*flags, f"--input={corpus}/ab1.wav", f"--input={corpus}/ac1.wav"]) == 0
    computed.clear()
    assert run.run([*flags, f"--input={corpus}/a*"]) == 0
    assert sorted(computed) == ["ab2", "ac2"] and totals(out) == (4, 2, 0, 2)
    for data in shards(out).values():
        assert b"\x05audio" in data and b"audio_embedding" not in data and b"video_id" not in data
    assert verify_folder(str(out), strict=True).problems == []
    assert {name: (s.end_s, codes.tobytes()) for name, (s, codes) in read(out).items()} == {
        name: (s.end_s, codes.tobytes()) for name, (s, codes) in read(finished).items()
    }
    assert "made with output_schema youtube8m, but this command has audioset" in refusal(
        [*TRIAL, f"--input={corpus}/a*", f"--output={out}"]
    )
    assert "leave out --postprocess=raw" in refusal([*flags, f"--input={corpus}/a*", "--postprocess=raw"])
    # Without its manifest, the folder should have the release's keys.
    (out / "_run" / "manifest.json").unlink()
    faults = verify_folder(str(out)).problems
    assert len(faults) == 2 * 4 and "context keys are ['end_time_seconds', 'id', 'labels'" in faults[0]


def test_a_missing_empty_numbered_shard_is_written_again(corpus, tmp_path):
    """The state after a run that was killed after all clips, and before the shards without clips."""
    flags = [*TRIAL, f"--input={corpus}/ab*", f"--output={tmp_path}/out", "--sharding=hash:5"]
    assert run.run(flags) == 0
    before = shards(tmp_path / "out")
    empty = [name for name, data in before.items() if not data]
    assert len(before) == 5 and len(empty) >= 3
    (tmp_path / "out" / empty[0]).unlink()
    assert run.run(flags) == 0
    assert shards(tmp_path / "out") == before and totals(tmp_path / "out") == (2, 0, 0, 2)
