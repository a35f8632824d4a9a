"""A command in its process: its status, its folder for temporary files, and --help."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.process import main
from transforms.errors import SettingError


@pytest.fixture
def set_up(monkeypatch):
    """The process is that of the tests, so it keeps its signals, streams and end."""
    called = []
    monkeypatch.setattr(main, "catch_signals", called.append)
    monkeypatch.setattr(main, "make_streams_patient", lambda: called.append("patient"))
    monkeypatch.setattr(main, "leave", lambda status: called.append("leave") or status)
    monkeypatch.setattr(main, "close_output", lambda name, status: called.append(f"close {name}") or status)
    return called


def test_a_command_has_its_own_temporary_folder_and_returns_its_status(set_up):
    folders = []

    def command() -> int:
        folders.append(Path(tempfile.gettempdir()))
        (folders[0] / "left").touch()
        return 4

    before = tempfile.gettempdir()
    assert main.run_main("pipeline.run", command) == 4
    assert set_up == ["pipeline.run", "patient", "close pipeline.run", "leave"]
    assert str(folders[0]) != before == tempfile.gettempdir() and not folders[0].exists()
    assert os.path.dirname(folders[0]) == before


@pytest.mark.parametrize("code, status", [(None, 0), (0, 0), (3, 3)])
def test_help_ends_a_command_as_any_other_end(set_up, code, status):
    assert main.run_main("pipeline.run", lambda: sys.exit(code)) == status
    assert set_up[-1] == "leave"


def test_a_mistake_is_a_line_and_a_status(set_up, capsys):
    def command() -> int:
        raise SettingError("--input=a: matches no file")

    assert main.run_main("pipeline.run", command) == 2
    assert capsys.readouterr().err == "pipeline.run: error: --input=a: matches no file\n"
