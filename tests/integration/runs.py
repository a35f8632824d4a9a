"""Runs the commands of docs/runners.md, and reads what they write."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_DOCS = ROOT / "docs" / "runners.md"
_LISTS = ("rejected-*.jsonl", "unmatched-*.jsonl", "shards.jsonl", "sources/*")


@dataclass(frozen=True)
class Run:
    """The parts of a feature folder that are the same on every engine.

    Attributes:
      files: path below the folder -> bytes, of the shards and lists.
      account: the account in the manifest.
    """

    files: dict[str, bytes]
    account: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> "Run":
        paths = [
            *folder.glob("*/*.tfrecord"),
            *(path for name in _LISTS for path in folder.glob(f"_run/{name}")),
        ]
        files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
        everything = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        others = {f"_run/{name}" for name in ("log.txt", "manifest.json", "report.html")}
        assert everything == {*files, *others}, "something is left behind"
        return cls(files, json.loads((folder / "_run" / "manifest.json").read_text())["account"])


def documented(section: str) -> str:
    """Returns the command of a section of docs/runners.md, which is its first code block."""
    found = re.search(rf"^##+ {re.escape(section)}$.*?^```\n(.*?)^```$", _DOCS.read_text(), re.M | re.S)
    assert found, f"no command in the section {section!r} of {_DOCS}"
    return found[1]


def start(section: str, log: Path, *more: str, **variables: str | Path) -> subprocess.Popen:
    """Starts a section's command.

    Args:
      log: file for its output.
      more: additional options.
      variables: values of the variables in the command.
    """
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": python, **{name: str(value) for name, value in variables.items()}}
    script = " ".join([documented(section).rstrip(), *more])
    with log.open("wb") as file:
        return subprocess.Popen(
            ["bash", "-euc", f"exec {script}"],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )


def kill(process: subprocess.Popen) -> None:
    """Kills the leader of a session and all its child processes: a job server outlives a killed command."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(section: str, log: Path, *more: str, **variables: str | Path) -> Run:
    """Runs a section's command to its end; returns what it wrote to the folder FEATURES."""
    process = start(section, log, *more, **variables)
    try:
        assert process.wait(600) == 0, log.read_text(errors="replace")[-4000:]
    finally:
        kill(process)
    return Run.of(Path(variables["FEATURES"]))
