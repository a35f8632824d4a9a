"""Which command a process runs."""

import sys

import pytest

from pipeline.process.own_command import own_command


@pytest.mark.parametrize(
    ("argv", "orig_argv", "command"),
    [
        (["/bin/audioset-beam", "run"], [], "audioset-beam"),
        (["-m", "x"], ["python", "-W", "ignore", "-m", "pipeline.verify", "x"], "pipeline.verify"),
        (["-m"], ["python", "-mpipeline.run"], "pipeline.run"),
        (["-m"], ["python", "-m", "pytest"], None),
        (["/elsewhere/fine_tune.py"], [], None),
        (["examples/fine_tune.py"], [], "fine_tune"),
        (["-c"], [], None),
        ([], [], None),
    ],
)
def test_the_command_of_a_process(monkeypatch, argv, orig_argv, command):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert own_command() == command
