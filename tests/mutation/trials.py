"""Runs tests on mutants, each in a process forked from one that has imported the libraries.

Each of the processes that run side by side has its own copy of the project, in which the mutant is written.
So the processes that a test starts see it too.
"""

import compileall
import importlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from coverage import Coverage

ROOT = Path(__file__).resolve().parents[2]
KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"
# Imported once. The project's own modules are not, so that each process imports the mutant.
_LIBRARIES = (
    "tensorflow",
    "keras",
    "apache_beam",
    "scipy.signal",
    "numba",
    "matplotlib.pyplot",
    "hypothesis",
)
_ERROR = 3  # exit status of pytest if tests cannot be collected; a mutant is killed then too


def import_libraries() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in _LIBRARIES:
        importlib.import_module(name)


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Yield folders with copies of the project's files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        made = [Path(folder, str(number), ROOT.name) for number in range(count)]
        for copy in made:
            for name in filter(None, listed):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
            with suppress(FileNotFoundError):
                (copy.parent / "shared").symlink_to((ROOT.parent / "shared").resolve(strict=True))
            # By default Python takes bytecode for that of a changed file of the same size and second.
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            for package in ("pipeline", "transforms"):
                compileall.compile_dir(copy / package, quiet=1, invalidation_mode=mode)
        yield made


@dataclass
class Trial:
    """A running process of pytest.

    Attributes:
      pid, started_s: of the process.
      log: its output.
    """

    pid: int
    started_s: float
    log: Path

    @classmethod
    def start(cls, copy: Path, tests: Sequence[str], covered: Path | None = None) -> "Trial":
        """Start tests in a copy of the project, which end with the first failure.

        With `covered`, a module, they also write a file `lines` beside the copy; see `tests_by_line`.
        """
        log = copy.parent / "log"
        pid = os.fork()
        if pid:
            return cls(pid, time.monotonic(), log)
        status = _ERROR
        try:
            status = _run(copy, tests, log, covered)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def outcome(self, limit_s: float | None) -> str | None:
        """Return the outcome; None while the tests run. After `limit_s` seconds they are killed."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return KILLED if os.waitstatus_to_exitcode(status) else SURVIVED
        if limit_s is None or time.monotonic() - self.started_s < limit_s:
            return None
        self.kill()
        return TIMED_OUT

    def kill(self) -> None:
        """Kill the process and all that it started."""
        process = psutil.Process(self.pid)
        for victim in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        os.waitpid(self.pid, 0)


def _run(copy: Path, tests: Sequence[str], log: Path, covered: Path | None) -> int:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(file, number)
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    options = ["-q", "-x", "-n0", "-pno:cacheprovider", f"--basetemp={copy.parent / 'tmp'}"]
    if covered is None:
        return int(pytest.main([*options, *tests]))
    coverage = Coverage(data_file=None, include=[str(covered)])
    coverage.start()
    status = int(pytest.main([*options, *tests], plugins=[_TestAsContext(coverage)]))
    coverage.stop()
    contexts = coverage.get_data().contexts_by_lineno(str(covered))
    (copy.parent / "lines").write_text(json.dumps(contexts))
    return status


class _TestAsContext:
    """A plugin of pytest: coverage knows which test executed a line."""

    def __init__(self, coverage: Coverage):
        self._coverage = coverage

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._coverage.switch_context(item.nodeid)


def tests_by_line(copy: Path, module: Path, tests: Sequence[str]) -> tuple[dict[int, list[str]], float]:
    """Run tests without a mutant.

    Returns:
      The tests that execute each line of a module, in their order, without lines that only its import
      executes; and the seconds that they took together.

    Raises:
      RuntimeError: one fails.
    """
    trial = Trial.start(copy, tests, copy / module.relative_to(ROOT))
    while (outcome := trial.outcome(None)) is None:
        time.sleep(0.05)
    if outcome != SURVIVED:
        raise RuntimeError(f"a test fails without a mutant:\n{trial.log.read_text()[-4000:]}")
    lines = json.loads((copy.parent / "lines").read_text())
    places = {path: number for number, path in enumerate(tests)}
    found = {
        int(line): sorted(filter(None, contexts), key=lambda test: places[test.partition("::")[0]])
        for line, contexts in lines.items()
    }
    return {line: names for line, names in found.items() if names}, time.monotonic() - trial.started_s


def files_of_tests(module: Path) -> list[str]:
    """Return the test file at a module's path, and then the files that import it, relative to the project."""
    package, *folders = module.relative_to(ROOT).parts[:-1]
    own = Path("tests", *([package] if package == "pipeline" else []), *folders, f"test_{module.name}")
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    parent, _, last = name.rpartition(".")
    imports = (f"from {name} import", f"from {parent} import {last}\n", f"import {name}\n")
    others = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "integration" not in path.parts and any(line in path.read_text() for line in imports)
    ]
    return [str(own), *(path for path in others if path != str(own))]
