"""Fixtures that the tests of several commands share."""

import shutil

import pytest
from folders import segment_flags
from sounds import write_noise

from pipeline import run
from pipeline.cli.console import run_command
from transforms import redact
from transforms.storage.tfrecord import frame_records


@pytest.fixture
def nothing_remembered(monkeypatch):
    """Secrets that other tests remembered are not hidden."""
    monkeypatch.setattr(redact, "_remembered", {})
    monkeypatch.setattr(redact, "_pattern", None)


@pytest.fixture
def screen(capsys):
    """Runs a command as its `main` does; returns its status and all that it prints."""

    def run_it(command, *argv: str) -> tuple[int, str]:
        capsys.readouterr()
        status = run_command("command", lambda: command(argv))
        return status, "".join(capsys.readouterr())

    return run_it


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run's folder `out` of three segments, one of them without audio, and their CSV `mine.csv`."""
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


@pytest.fixture
def copied(whole, tmp_path):
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "whole")


@pytest.fixture
def folder(tmp_path):
    """Writes records as train/ab.tfrecord (or another shard) and returns the feature folder."""

    def write(*records: bytes, shard: str = "train/ab"):
        path = tmp_path / f"{shard}.tfrecord"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(frame_records(records))
        return tmp_path

    return write
