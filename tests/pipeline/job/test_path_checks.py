"""Unusual inputs: links, locked folders, odd names, and files of the output itself."""

import json
import os
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest
from memory_objects import MemoryObjects
from trial_runs import REJECTED, TRIAL, UNMATCHED, json_lines, read, refusal

from pipeline import make_shards, run
from pipeline.job import path_checks
from pipeline.job.path_checks import check_input
from pipeline.output.feature_folder import FeatureFolder
from pipeline.verify import verify_folder
from transforms.clips import RejectedClip
from transforms.errors import Reason
from transforms.inputs import input_list
from transforms.rejects import _kept

pytestmark = pytest.mark.usefixtures("stand_in_network")


def account(output: Path) -> dict:
    found = json.loads((output / "_run" / "manifest.json").read_text())["account"]
    assert found["balanced"]
    return {name: sum(found[name].values()) for name in ("expected", "written", "rejected", "existing")}


def counts(expected: int, written: int, rejected: int, existing: int = 0) -> dict:
    return {
        "expected": expected,
        "written": written,
        "rejected": rejected,
        "existing": existing,
    }


def rejects(output: Path) -> dict[str, str]:
    return {line["file"]: line["reason"] for line in json_lines(output / "_run" / REJECTED)}


@pytest.fixture
def listed(monkeypatch) -> list[str]:
    """Folders as they are listed, one after the other."""
    paths, scandir = [], os.scandir

    def counting(path="."):
        paths.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    return paths


def test_each_input_is_read_or_unreadable_and_listed_once(corpus, tmp_path, monkeypatch, capsys, listed):
    """Links are followed, names with a dot are skipped, and files without an end are not opened."""
    os.mkfifo(corpus / "fifo.wav")
    os.mkfifo(corpus / "fifo")  # which only its bytes would tell the form of
    (corpus / "zero.wav").symlink_to("/dev/zero")
    (corpus / "sub" / "up").symlink_to("..")
    (corpus / "._top.wav").write_bytes(b"junk")
    (corpus / ".git").mkdir()
    monkeypatch.chdir(corpus)
    flags, folders = [f"--input={corpus}/**", "--runner=FnApiRunner"], ["", "/link", "/sub"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.tar")
        assert run.run([*TRIAL, *flags, f"--output={tmp_path}/out"]) == 0
        assert "skipped         2 names that begin with a dot" in capsys.readouterr().out.splitlines()
        assert make_shards.run([*flags, f"--output={tmp_path}/tar", "--format=tar"]) == 0
        assert "skipped: 2 names that begin with a dot" in capsys.readouterr().out.splitlines()
        of_inputs = sorted(path for path in listed if path.startswith(str(corpus)))
        assert of_inputs == sorted(f"{corpus}{name}" for name in folders * 2)
        found = [rejects(tmp_path / name) for name in ("out", "tar")]
        again = f"--input_rejects={tmp_path}/out/_run/rejected-*"
        assert run.run([*TRIAL, again, f"--output={tmp_path}/out2"]) == 0
    assert account(tmp_path / "out") == counts(8, 3, 5) and set(read(tmp_path / "out")) == {"top", "s1", "r1"}
    names = ("fifo", "fifo.wav", "socket.tar", "sub/gone.wav", "zero.wav")
    assert found == [{f"{corpus}/{name}": "unreadable" for name in names}] * 2
    assert rejects(tmp_path / "out2") == found[0]
    messages = {Path(r["file"]).name: r["message"] for r in json_lines(tmp_path / "out" / "_run" / REJECTED)}
    assert "a FIFO, not a file" in messages["fifo"] and "a device, not a file" in messages["zero.wav"]
    assert "a socket, not a file" in messages["socket.tar"]
    for name in ("out", "tar"):
        assert list((tmp_path / name / "_run").glob("inputs-*")) == []


@contextmanager
def locked(folder: Path):
    """Root can list every folder; `test_listing` has one that really cannot be listed."""
    scandir = os.scandir

    def refusing(path="."):
        if str(path) == str(folder):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        yield


def test_a_folder_that_cannot_be_listed_is_rejected_until_it_can(corpus, tmp_path):
    output, shut = tmp_path / "out", corpus / "sub"
    flags = [*TRIAL, f"--output={output}"]
    with locked(shut):
        two_globs = [f"--input={corpus}/**/*.wav", f"--input={corpus}/*/*.wav"]
        assert run.run([*flags, *two_globs]) == 0
    assert account(output) == counts(3, 2, 1)
    (line,) = json_lines(output / "_run" / REJECTED)
    assert (line["file"], line["reason"], line["id"]) == (str(shut), "unreadable", "")
    assert "Permission denied" in line["message"]
    # The list has no clip in the folder to try, and its reject stays.
    assert run.run([*flags, f"--input_rejects={output}/_run/rejected-*"]) == 0
    (line,) = json_lines(output / "_run" / REJECTED)
    assert line["file"] == str(shut) and "to list it again, give --input" in line["message"]
    assert run.run([*flags, f"--input={corpus}/**/s1.wav"]) == 0
    assert rejects(output) == {} and set(read(output)) == {"top", "s1", "r1"}
    with locked(corpus):
        assert "cannot be listed ([Errno 13] Permission denied" in refusal([*flags, f"--input={corpus}/*"])


def test_a_run_that_does_not_list_a_folder_keeps_its_reject():
    clip = RejectedClip("train", "", 0.0, "/d/sub", None, "read_clips", Reason.UNREADABLE, "cannot be listed")
    group = "/d/sub", {"earlier": [clip], "read": []}
    for patterns, kept in ((["/d/*"], [clip]), (["/e/**"], [clip]), (["/e/*", "/d/**/x"], []), ([], [clip])):
        assert list(_kept(group, None, patterns, "train")) == kept


def test_make_shards_also_rejects_a_folder(corpus, tmp_path, capsys):
    flags = ["--runner=FnApiRunner", f"--input={corpus}/**", "--format=tar", f"--output={tmp_path}/tar"]
    with locked(corpus / "sub"):
        assert make_shards.run(flags) == 0
    assert rejects(tmp_path / "tar") == {f"{corpus}/sub": "unreadable"}
    assert "files read 3 = packed 2 + rejected 1" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "tar" / "_run").iterdir()}
    assert files == {"manifest.json", REJECTED, UNMATCHED}


def test_odd_names_are_taken_literally(tmp_path, sound):
    folder, name = tmp_path / "[x] what? * a\\b", "[y]?*"
    (folder / "in").mkdir(parents=True)
    for there in (f"{name}.wav", "y.wav", "yy.wav"):
        (folder / "in" / there).write_bytes(sound)
    flags = [*TRIAL, f"--input={folder}/in/{name}.wav", f"--output={folder}/out"]
    assert run.run(flags) == 0 and set(read(folder / "out")) == {name}
    assert verify_folder(str(folder / "out")).problems == []
    assert len(FeatureFolder.at(str(folder / "out")).shards) == 1
    assert run.run([*flags, "--overwrite"]) == 0 and account(folder / "out") == counts(1, 1, 0)
    files = {path.name for path in (folder / "out" / "_run").iterdir()}
    assert files == {"log.txt", "manifest.json", "shards.jsonl", "sources", REJECTED, UNMATCHED}


def test_paths_relative_to_home_and_the_working_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(corpus)
    inputs = [
        f"--input={pattern}" for pattern in ("*.wav", "~/D//sub/s*", (tmp_path / "real").as_uri() + "/*")
    ]
    assert run.run([*TRIAL, *inputs, "--output=~/out"]) == 0
    assert set(read(tmp_path / "out")) == {"top", "s1", "r1"} and not (corpus / "~").exists()


def test_files_of_the_output_are_not_inputs(corpus, tmp_path):
    (tmp_path / "link").symlink_to("D")
    flags = [*TRIAL, f"--input={corpus}/**", f"--output={tmp_path}/link/out"]
    for there in (0, 3):
        assert run.run(flags) == 0
        assert account(corpus / "out") == counts(4, 3 - there, 1, there)
    assert "except 3 of --output itself" in refusal([*TRIAL, f"--input={corpus}/out/*/*.tfrecord", flags[-1]])


@pytest.mark.parametrize("output", ["D/out", "link/out", "D", "."])
def test_only_files_that_runs_wrote_are_not_inputs(output, corpus, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("D")
    monkeypatch.chdir(tmp_path)
    for name in ("train/ab.tfrecord", "train/mine.wav", "_run/report.html", "_run/x/y", "mine.tfrecord"):
        path = tmp_path / output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / output / "other").mkdir()
    (tmp_path / output / "other/ab.tfrecord").touch()
    shard = {"path": "train/ab.tfrecord", "records": 1, "size_bytes": 0, "sha256": ""}
    (tmp_path / output / "_run/shards.jsonl").write_text(json.dumps(shard) + "\n")
    found = {path.removeprefix("./") for path in check_input(["./**"], output=output).paths}
    names = ("train/mine.wav", "mine.tfrecord", "other/ab.tfrecord")
    kept = {str(Path(output) / name).replace("link", "D") for name in names}
    assert kept <= found and {"D/top.wav", "real/r1.wav"} <= found
    assert not [path for path in found if path.endswith(("train/ab.tfrecord", "report.html", "x/y"))]
    assert len(check_input(["./**"]).paths) > len(found)


def test_buckets_are_listed_once_and_a_long_list_has_several_files(tmp_path, monkeypatch, sound):
    names = ("a/x.wav", "a/y.wav", "a/.z.wav")
    monkeypatch.setattr(MemoryObjects, "names", {f"mem://bucket/{name}": sound for name in names})
    monkeypatch.setattr(MemoryObjects, "listed", [])
    monkeypatch.setattr(input_list, "_FILE_INPUTS", 1)
    assert run.run([*TRIAL, "--input=mem://bucket/a/**", f"--output={tmp_path}/out"]) == 0
    assert MemoryObjects.listed == ["mem://bucket/a/"]
    assert set(read(tmp_path / "out")) == {"x", "y"}
    written = check_input(["mem://bucket/a/**"]).write(f"{tmp_path}/list")
    assert [Path(path).name for path in written.paths] == [f"list-0000{n}-of-00002.jsonl" for n in (0, 1)]


def test_a_probe_that_another_run_deletes_is_written_again(corpus, tmp_path, monkeypatch):
    put = path_checks.write_atomic
    calls = []

    def swept_once(path, data):
        calls.append(path)
        if len(calls) == 1:
            raise FileNotFoundError(path)
        put(path, data)

    monkeypatch.setattr(path_checks, "write_atomic", swept_once)
    path_checks.check_output(str(tmp_path / "out"))
    assert len(calls) == 2 and not list((tmp_path / "out" / "_run").iterdir())
