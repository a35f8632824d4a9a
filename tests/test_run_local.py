"""How run_local.sh finds a Python. .ci/run runs the rest of it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ["bash", "cat", "cksum", "dirname"]


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder with what the script needs from the system, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def add_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def run_script(programs: Path, **environment: str) -> subprocess.CompletedProcess:
    variables = {"PATH": str(programs), "VENV": str(programs.parent / "venv"), **environment}
    return subprocess.run([ROOT / "run_local.sh"], env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("has_python", [False, True])
def test_without_a_supported_python_the_message_says_how_to_get_one(programs, has_python):
    if has_python:
        add_script(programs / "python3", "exit 1")  # what the check of the version returns on Python 3.14
    result = run_script(programs)
    assert result.returncode == 2
    assert "the Python of this machine is missing or is not Python 3.10 to 3.13" in result.stderr
    for way in ("PYTHON=/path/to/python3.13", "https://docs.astral.sh/uv", "apt install", "dnf install"):
        assert way in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_named_python_of_another_version_is_not_replaced(programs):
    add_script(programs / "python3", "exit 0")
    add_script(programs / "python3.14", "exit 1")
    result = run_script(programs, PYTHON="python3.14")
    assert result.returncode == 2
    assert "error: python3.14 is missing or is not Python 3.10 to 3.13" in result.stderr


def test_uv_brings_a_python(programs):
    add_script(programs / "uv", 'echo "uv $*"; exit 1')
    result = run_script(programs)
    assert result.stdout == f"uv venv --quiet --seed --python 3.13 {programs.parent / 'venv'}\n"
