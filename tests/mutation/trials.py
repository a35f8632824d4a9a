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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_OBSERVED = "observed.json"
# Path of a module -> its files of tests, all relative to the project.
TestsOf = Mapping[str, Sequence[str]]
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
    # A process that a test left behind may still write there.
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
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
    def start(cls, copy: Path, tests: Sequence[str], observed: TestsOf | None = None) -> "Trial":
        """Start tests in a copy of the project, which end with the first failure.

        With `observed`, modules with their tests, they also write a file beside the copy; see `observe`.
        """
        log = copy.parent / "log"
        pid = os.fork()
        if pid:
            return cls(pid, time.monotonic(), log)
        status = _ERROR
        try:
            status = _run(copy, tests, log, observed)
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


def _run(copy: Path, tests: Sequence[str], log: Path, observed: TestsOf | None) -> int:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(file, number)
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path or ".").resolve() != ROOT)]
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    options = ["-q", "-n0", "-pno:cacheprovider", f"--basetemp={copy.parent / 'tmp'}"]
    if observed is None:
        # File by file, since most mutants are killed by the first, and the import of a file takes its time.
        files: dict[str, list[str]] = {}
        for test in tests:
            files.setdefault(_file(test), []).append(test)
        return next((s for names in files.values() if (s := int(pytest.main([*options, "-x", *names])))), 0)
    coverage = Coverage(data_file=None, include=[str(copy / module) for module in observed])
    observer = _Observer(coverage)
    coverage.start()
    for module in observed:  # otherwise the lines of its import would belong to the test that needs it first
        with suppress(ImportError):
            importlib.import_module(module.removesuffix(".py").replace("/", "."))
    status = int(pytest.main([*options, *tests], plugins=[observer]))
    coverage.stop()
    if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        lines = {module: _lines(coverage, copy / module, files) for module, files in observed.items()}
        values = {"lines": lines, "seconds": observer.seconds, "failed": sorted(observer.failed)}
        (copy.parent / _OBSERVED).write_text(json.dumps(values))
    return status


def _lines(coverage: Coverage, module: Path, files: Sequence[str]) -> dict[int, list[str]]:
    """Return the tests from some files that executed each line of a module."""
    contexts = coverage.get_data().contexts_by_lineno(str(module))
    found = {line: [test for test in tests if _file(test) in files] for line, tests in contexts.items()}
    return {line: tests for line, tests in found.items() if tests}


def _file(test: str) -> str:
    return test.partition("::")[0]


class _Observer:
    """A plugin of pytest, with which coverage knows which test executed a line.

    Attributes:
      seconds: test -> how long it took.
      failed: tests that failed.
    """

    def __init__(self, coverage: Coverage):
        self._coverage = coverage
        self.seconds: Counter[str] = Counter()
        self.failed: set[str] = set()

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


@dataclass
class Observed:
    """What tests did without a mutant.

    Attributes:
      lines: module -> line -> tests from the module's files that execute it, unless only imports do.
      seconds: test -> how long it took.
    """

    lines: dict[str, dict[int, list[str]]]
    seconds: Counter[str]

    def choose(self, module: str, files: Sequence[str], line: int) -> list[str]:
        """Return the tests that execute a line of a module, or if only its import does, all of its tests.

        Those of the first file precede, then come those of the file with the least time, and so on; in a file
        the fastest precede.
        """
        found = self.lines[module].get(line) or [test for test in self.seconds if _file(test) in files]
        seconds = Counter[str]()
        for test in found:
            seconds[_file(test)] += self.seconds[test]

        def order(test: str) -> tuple[bool, float, str, float]:
            return _file(test) != files[0], seconds[_file(test)], _file(test), self.seconds[test]

        return sorted(found, key=order)


def observe(trees: Sequence[Path], observed: TestsOf) -> Observed:
    """Run all tests of modules without a mutant, divided between the trees.

    A test that fails is named and left out: it would seem to notice each mutant.

    Raises:
      RuntimeError: tests cannot be collected.
    """
    files = list(dict.fromkeys(file for files in observed.values() for file in files))
    parts = [(tree, files[number :: len(trees)]) for number, tree in enumerate(trees)]
    running = [(tree, Trial.start(tree, part, observed)) for tree, part in parts if part]
    seen = Observed({module: {} for module in observed}, Counter())
    for tree, trial in running:
        while trial.outcome(None) is None:
            time.sleep(0.05)
        if not (tree.parent / _OBSERVED).exists():
            raise RuntimeError(f"tests cannot be run:\n{trial.log.read_text()[-4000:]}")
        part_seen = json.loads((tree.parent / _OBSERVED).read_text())
        for test in part_seen["failed"]:
            print(f"left out, since it fails without a mutant: {test}", file=sys.stderr)
            del part_seen["seconds"][test]
        seen.seconds.update(part_seen["seconds"])
        for module, lines in part_seen["lines"].items():
            for line, tests in lines.items():
                good = [test for test in tests if test in part_seen["seconds"]]
                seen.lines[module].setdefault(int(line), []).extend(good)
    return seen


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
