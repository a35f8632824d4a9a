"""The command as a whole, in this process: what it packs, counts, prints and refuses, and the round trip."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from segments_of_a_corpus import SEGMENTS
from sounds import write_bad_files, write_noise

from pipeline import make_shards, run
from pipeline.cli.console import run_command
from transforms import write_shards
from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.errors import SettingError
from transforms.storage.files import open_file

KINDS = ("tfrecord", "tar", "parquet")
RUNNER = "--runner=FnApiRunner"


def write_corpus(folder: Path) -> Path:
    """Soundtracks, files that are cut, two for one clip of which the first is damaged, and others."""
    for n, (name, duration_s) in enumerate(
        [
            ("a/-sound.track.flac", 5.0),
            ("b/Ycut é_30.000.ogg", 3.2),
            ("both_12345_14000.mp3", 1.7),
            ("exact.wav", 2.1),
            ("a/twice.wav", 2.0),
            ("b/twice.wav", 2.0),
            ("c/twice.wav", 2.0),
            ("stranger.v1.wav", 1.2),
        ]
    ):
        write_noise(folder / name, duration_s, 22_050, seed=n)
    (folder / "a/twice.wav").write_text("no audio")
    (folder / "bad.wav").write_bytes(b"")
    return folder


def write_segments(folder: Path) -> list[str]:
    """SEGMENTS as CSVs; returns the options that name them."""
    (folder / "labels.csv").write_text("index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n")
    mids = {0: "/m/a", 7: "/m/b"}
    for split in ("eval", "mine"):
        rows = [
            f'{s.video_id}, {s.start_s}, {s.end_s}, "{",".join(mids[label] for label in s.labels)}"\n'
            for s in SEGMENTS
            if s.split == split
        ]
        (folder / f"{split}.csv").write_text("".join(rows))
    return [f"--segments={split}={folder}/{split}.csv" for split in ("eval", "mine")] + [
        f"--class_labels={folder}/labels.csv"
    ]


def pack(output: Path, *flags: str) -> dict[str, bytes]:
    assert make_shards.run([RUNNER, f"--output={output}", *flags]) == 0
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.is_file()}


def read_shards(output: Path, kind: str) -> list[tuple[str, ShardClip]]:
    found = []
    for path in sorted(output.glob(f"*.{kind}")):
        with path.open("rb") as file:
            found += [(path.name, item) for item in read_shard(kind, file, parse_columns())]
    return found


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_packed_unchanged_in_order_of_path(corpus, tmp_path, kind, capsys):
    shards = pack(tmp_path, f"--input={corpus}/**", f"--format={kind}", "--shard_bytes=200KB")
    assert list(shards) == [f"audio-{n:05d}-of-{len(shards):05d}.{kind}" for n in range(len(shards))]
    assert len(shards) > 2
    paths = sorted(path for path in corpus.rglob("*") if path.is_file())
    found = read_shards(tmp_path, kind)
    assert [(item.video_id, item.audio) for _, item in found] == [(p.stem, p.read_bytes()) for p in paths]
    assert all(
        (item.start_s, item.end_s, item.labels, item.split) == (None, None, (), None) for _, item in found
    )
    printed = capsys.readouterr().out
    assert f"files read {len(paths)} = packed {len(paths)} + rejected 0" in printed
    assert f"shards: {len(shards)}, {tmp_path}/*.{kind}" in printed
    assert sorted(p.name for p in (tmp_path / "_run").iterdir()) == [
        "manifest.json",
        "rejected-00000-of-00001.jsonl",
        "unmatched-00000-of-00001.jsonl",
    ]


def test_what_a_killed_command_left_is_deleted_and_nothing_else(corpus, tmp_path):
    flags = ["--format=tar", "--shard_bytes=300KB", f"--input={corpus}/**"]
    expected = pack(tmp_path / "one", *flags)
    output = tmp_path / "two"
    run_folder = output / "_run"
    run_folder.mkdir(parents=True)
    (run_folder / "packing").touch()
    (run_folder / "inputs-00000-of-00001.jsonl").touch()
    (output / "audio-00007-of-00009.parquet").write_bytes(b"half")
    (output / f".audio-00000-of-00009.tar.{'0' * 32}.tmp").write_bytes(b"half")
    others = [output / name for name in ("audio.txt", f".other.tar.{'0' * 32}.tmp", "audio-1-of-2.tar.txt")]
    for path in others:
        path.write_text("mine")
    made = pack(output, *flags)
    assert {name: made[name] for name in expected} == expected
    names = {path.name for path in output.iterdir()}
    assert names == {*expected, "_run", *(path.name for path in others)}
    assert not (run_folder / "packing").exists()
    with pytest.raises(SettingError, match=r"already contains \d+ shards"):
        pack(output, *flags)


def test_bytes_do_not_depend_on_the_order_of_inputs_or_overlapping_globs(corpus, tmp_path):
    flags = ["--format=parquet", "--shard_bytes=300KB", "--split=mine"]
    once = pack(tmp_path / "one", f"--input={corpus}/**", *flags)
    inputs = [f"--input={corpus}/{part}" for part in ("b/*", "*.wav", "**", "a/*")]
    assert pack(tmp_path / "two", *inputs, *flags) == once
    assert {item.split for _, item in read_shards(tmp_path / "one", "parquet")} == {"mine"}


def test_segments_give_times_labels_and_split_of_files_that_are_cut(corpus, tmp_path, capsys):
    flags = write_segments(tmp_path)
    pack(tmp_path / "out", f"--input={corpus}/**", "--format=tar", *flags)
    found = {item.audio: item for _, item in read_shards(tmp_path / "out", "tar")}
    said = {
        name: (item.video_id, item.start_s, item.end_s, item.labels, item.split)
        for name in ("b/Ycut é_30.000.ogg", "both_12345_14000.mp3", "exact.wav", "a/-sound.track.flac")
        for item in [found[(corpus / name).read_bytes()]]
    }
    assert list(said.values()) == [
        ("cut é", 30.0, 33.0, (7,), "mine"),
        ("both", 12.345, None, (), None),
        ("exact", None, None, (), None),
        ("-sound.track", None, None, (), None),
    ]
    printed = capsys.readouterr().out
    assert "files read 8 = packed 8 + rejected 0" in printed
    assert "files without a segment, not packed: 1" in printed
    assert "packed without times: 7; give pipeline.run the same --segments" in printed
    (stranger,) = json_lines(tmp_path / "out" / "_run" / "unmatched-00000-of-00001.jsonl")
    assert stranger["file"] == f"{corpus}/stranger.v1.wav"


def test_a_file_that_cannot_be_packed_is_rejected_and_the_others_are_packed(tmp_path, capsys, monkeypatch):
    audio = tmp_path / "audio"
    reasons = write_bad_files(audio)  # what only a decoder sees is packed
    pack(tmp_path / "shards", f"--input={audio}/*", "--format=tar")
    shutil.copy(tmp_path / "shards" / "audio-00000-of-00001.tar", audio / "packed already")
    (audio / "gone.wav").touch()

    def open_or_fail(path):
        if path.endswith("gone.wav"):
            raise FileNotFoundError("it was here a moment ago")
        return open_file(path)

    monkeypatch.setattr(write_shards, "open_file", open_or_fail)
    capsys.readouterr()
    pack(tmp_path / "out", f"--input={audio}/*", "--format=tfrecord", "--shard_bytes=1B")
    assert {item.video_id for _, item in read_shards(tmp_path / "out", "tfrecord")} == set(reasons)
    rejected = json_lines(tmp_path / "out" / "_run" / "rejected-00000-of-00001.jsonl")
    assert {(line["id"], line["reason"], line["stage"]) for line in rejected} == {
        ("gone", "unreadable", "write_shards"),
        ("packed already", "not_audio", "write_shards"),
    }
    assert all(line["file"].startswith(str(audio)) and line["message"] for line in rejected)
    printed = capsys.readouterr().out
    assert "files read 7 = packed 5 + rejected 2" in printed
    assert "rejected by reason: not_audio 1, unreadable 1" in printed
    manifest = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())
    assert manifest["account"]["packed"] == 5 and manifest["account"]["balanced"]
    assert manifest["options"]["format"] == "tfrecord"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_costs_only_its_file(tmp_path):
    audio = tmp_path / "audio"
    write_noise(audio / "good.wav", 1.0)
    shutil.copy(os.fsencode(audio / "good.wav"), os.fsencode(audio) + b"/bad\xff.wav")
    pack(tmp_path / "out", f"--input={audio}/*", "--format=parquet")
    assert [item.video_id for _, item in read_shards(tmp_path / "out", "parquet")] == ["good"]
    (line,) = json_lines(tmp_path / "out" / "_run" / "rejected-00000-of-00001.jsonl")
    assert line["reason"] == "unreadable" and line["file"].endswith("bad\\udcff.wav")


@pytest.mark.parametrize(
    "text, size",
    [("256MB", 256_000_000), ("1gb", 10**9), ("500 KB", 500_000), ("7B", 7)],
)
def test_shard_bytes_are_decimal(text, size):
    assert make_shards.parse_shard_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0B", "0MB", "-1", "1.5GB", "256MiB", "MB", "many", "٣MB", "1TB"])
def test_other_shard_bytes_are_refused(text):
    with pytest.raises(SettingError, match=r"--shard_bytes=.*give an integer above 0"):
        make_shards.parse_shard_bytes(text)


def test_shard_bytes_need_a_unit():
    with pytest.raises(SettingError, match=r"--shard_bytes=256: 256 what\? Write 256MB, or 256B for bytes"):
        make_shards.parse_shard_bytes("256")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"input": None}, "--input is required"),
        ({"output": None}, "--output is required"),
        ({"format": None}, "--format is required"),
        ({"format": "zip"}, "invalid choice"),
        ({"shard_bytes": "2MiB"}, "--shard_bytes=2MiB: give"),
        ({"split": "../up"}, "a split names a folder"),
        ({"id_pattern": "x"}, "has no group named id"),
        ({"input": "{corpus}/*.nothing"}, "matches no file"),
        ({"segments": "{corpus}/none.csv"}, "none.csv: no such file; check the path"),
        ({"shard_byte": "2MB"}, "unknown option --shard_byte"),
        ({"output": "{full}"}, "already contains 1 shard, such as"),
    ],
)
def test_mistakes_stop_the_run_before_any_work(corpus, tmp_path, capsys, change, message):
    full = tmp_path / "full"
    full.mkdir()
    (full / "audio-00000-of-00001.tar").write_bytes(b"")
    output = tmp_path / "out"
    options = {"input": f"{corpus}/**", "output": str(output), "format": "tfrecord", **change}
    argv = [
        f"--{name}={value.format(corpus=corpus, full=full)}"
        for name, value in options.items()
        if value is not None
    ]
    assert run_command("pipeline.make_shards", lambda: make_shards.run([RUNNER, *argv])) == 2
    error = capsys.readouterr().err
    assert error.startswith("pipeline.make_shards: error: ") and message in error and error.count("\n") == 1
    assert not list(output.glob("*.*"))


@pytest.mark.integration
def test_features_from_shards_are_those_from_files(corpus, tmp_path):
    segments = write_segments(tmp_path)
    model = ["--weights=random:0", "--pca_params=none", "--batch_size=8"]
    trial = [RUNNER, *model, *segments, "--max_reject_fraction=1"]  # three of ten are made to be rejected

    def embed(name: str, *inputs: str) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
        output = tmp_path / name
        assert run.run([*trial, f"--output={output}", *inputs]) == 0
        features = {str(p.relative_to(output)): p.read_bytes() for p in output.glob("*/*.tfrecord")}
        rejected = json_lines(output / "_run" / "rejected-00000-of-00001.jsonl")
        return features, sorted((line["id"], line["reason"]) for line in rejected)

    expected = embed("features", f"--input={corpus}/**")
    assert set(expected[0]) == {
        *(f"eval/{name}.tfrecord" for name in ("-s", "bo", "ex", "tw")),
        *(f"mine/{name}.tfrecord" for name in ("-s", "bo", "cu")),
    }
    assert expected[1] == [("bad", "not_audio"), ("twice", "duplicate"), ("twice", "not_audio")]
    for kind in KINDS:
        shards = tmp_path / kind
        assert (
            len(pack(shards, f"--input={corpus}/**", f"--format={kind}", "--shard_bytes=100KB", *segments))
            > 2
        )
        assert embed(f"features of {kind}", f"--input={shards}/*.{kind}") == expected
