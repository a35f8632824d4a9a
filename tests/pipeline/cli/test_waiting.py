"""A terminal shows what a command waits for; other streams do not."""

import io
import os
import pty
import sys

import pytest

from pipeline.cli.waiting import waiting_for


def on_terminal(monkeypatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with pytest.raises(ValueError), waiting_for("loading it"):
            raise ValueError
        terminal.write("end")
        terminal.flush()
        shown = ""
        while not shown.endswith("end"):
            shown += os.read(ours, 1000).decode()
    os.close(ours)
    return shown


def test_the_line_is_cleared_at_the_end(monkeypatch):
    assert on_terminal(monkeypatch, TERM="xterm") == "loading it ...\r\x1b[Kend"


def test_elsewhere_nothing_is_shown(monkeypatch):
    assert on_terminal(monkeypatch, TERM="dumb") == "end"
    monkeypatch.setenv("TERM", "xterm")
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with waiting_for("loading it"):
            pass
        assert stream is None or stream.getvalue() == ""
