import subprocess
import sys

from commands import ROOT

PREPARE = """
import os, sys
from transforms.quiet_import import import_frameworks_quietly

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "transforms.frameworks":
            os.write(2, b"a message in C++\\n")
            if "fails" in sys.argv:
                raise ImportError("no such library")

sys.meta_path.insert(0, Finder())
import_frameworks_quietly()
os.write(2, b"later\\n")
"""


def run(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", PREPARE, *argv], cwd=ROOT, capture_output=True, text=True)


def test_messages_during_the_import_are_hidden():
    result = run()
    assert (result.returncode, result.stderr) == (0, "later\n")


def test_messages_are_shown_if_the_import_fails():
    result = run("fails")
    assert result.returncode == 1 and "later" not in result.stderr
    assert result.stderr.startswith("a message in C++\n") and "ImportError: no such library" in result.stderr


def test_verbose_commands_import_later_and_loudly():
    result = run("--verbose", "fails")
    assert (result.returncode, result.stderr) == (0, "later\n")
