import os
import signal
import subprocess
import sys

from commands import ROOT

IMPORT = """
import os, sys
from transforms.quiet_import import hidden_messages, hide_messages

hide_messages()
with hidden_messages():
    os.write(2, b"a message in C++\\n")
    if "crashes" in sys.argv:
        os.abort()
    if "fails" in sys.argv:
        raise ImportError("no such library")
os.write(2, b"later\\n")
"""


def run(*argv: str, code: str = IMPORT) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "AUDIOSET_BEAM_QUIET"}
    command = [sys.executable, "-c", code, *argv]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_messages_during_the_import_are_hidden():
    result = run()
    assert (result.returncode, result.stderr) == (0, "later\n")


def test_messages_are_shown_if_the_import_fails():
    result = run("fails")
    assert result.returncode == 1 and "later" not in result.stderr
    assert result.stderr.startswith("a message in C++\n") and "ImportError: no such library" in result.stderr


def test_a_crash_during_the_import_shows_its_place():
    result = run("crashes")
    assert result.returncode == -signal.SIGABRT
    assert "Aborted" in result.stderr and 'File "<string>", line 9' in result.stderr
    after = IMPORT.replace('os.write(2, b"later\\n")', "os.abort()")
    assert "Aborted" not in run(code=after).stderr  # what else a command does with crashes stays


def test_verbose_commands_show_them():
    assert run("--verbose").stderr == "a message in C++\nlater\n"


def test_other_programs_show_them():
    code = IMPORT.replace("hide_messages()\n", "", 1)
    assert run(code=code).stderr == "a message in C++\nlater\n"
