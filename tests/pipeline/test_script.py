"""The script that pip installs, as a user types it."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import ROOT
from sounds import write_noise

SCRIPT = Path(sys.executable).with_name("audioset-beam")


def run(*arguments: str, cwd: Path | str = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([str(SCRIPT), *arguments], cwd=cwd, capture_output=True, text=True)


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"audioset-beam {version('audioset-beam')}\n"


def test_messages_name_the_command_as_it_was_typed():
    result = run("run", "--inptu=x")
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        result.stderr
        == "audioset-beam run: error: unknown option --inptu (did you mean --input?); see --help\n"
    )
    assert run("verify", "--help").stdout.startswith("usage: audioset-beam verify ")


@pytest.mark.integration
def test_commands_of_the_script_do_what_the_modules_do(tmp_path):
    write_noise(tmp_path / "audio" / "ab.wav", 2.0)
    trial = ["--weights=random:0", "--pca_params=none"]
    result = run("run", "--input=audio/*", "--output=features", *trial, cwd=tmp_path)
    assert result.returncode == 0 and "clips expected 1 = written 1" in result.stdout, result.stderr
    result = run("verify", "features", "--json", cwd=tmp_path)
    assert result.returncode == 0 and json.loads(result.stdout)["good"]
