"""The mutants that `python -m tests.mutation` makes, and what it does with them."""

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation import results
from tests.mutation.mutants import choose, make_mutants
from tests.mutation.trials import KILLED, SURVIVED, Observed, files_of_tests

ROOT = Path(__file__).resolve().parents[1]
SOURCE = '''\
"""Text is never changed."""

import os

LIMIT: int = 3


def write(file, data: bytes, sync: bool = True) -> int:
    if not data or len(data) > LIMIT:
        raise ValueError("too long")
    if sync:
        os.fsync(file)
    return file.write(
        data,
        LIMIT,
    )
'''


def test_a_mutant_has_one_mistake():
    found = {(mutant.line, mutant.before, mutant.after) for mutant in make_mutants(SOURCE)}
    assert {
        (5, "3", "4"),
        (8, "True", "False"),
        (9, "not data", "data"),
        (9, "> LIMIT", ">= LIMIT"),
        (9, "not data or len(data) > LIMIT", "not data and len(data) > LIMIT"),
        (12, "os.fsync(file)", "pass"),
        (12, "os.fsync(file)", "os.fsync(None)"),
    } <= found
    assert not any("Text" in before or before.startswith('"too') for _, before, _ in found)
    for mutant in make_mutants(SOURCE):
        compile(mutant.source, "mutant", "exec")
        assert mutant.source != SOURCE and len(mutant.source.splitlines()) in (15, 16)


def test_the_key_of_a_mutant_is_its_own():
    mutants = list(make_mutants(SOURCE))
    assert len({mutant.key for mutant in mutants}) == len(mutants)
    assert choose(mutants, None) == mutants == choose(mutants, 1_000)
    few = choose(mutants, 4)
    assert len(few) == 4 and few == choose(mutants[::-1], 4)[::-1]


def test_a_mutant_meets_the_tests_that_execute_its_statement_the_fastest_first():
    seconds = {"own.py::a": 2.0, "own.py::b": 1.0, "slow.py::a": 3.0, "fast.py::a": 1.0, "fast.py::b": 0.5}
    observed = Observed({"module.py": {12: list(seconds)[1:]}}, Counter(seconds))
    files = ["own.py", "slow.py", "fast.py"]
    assert observed.choose("module.py", files, 12) == ["own.py::b", "fast.py::b", "fast.py::a", "slow.py::a"]
    # Only its import executes the line.
    observed.seconds["other.py::a"] = 1.0
    in_order = ["own.py::b", "own.py::a", "fast.py::b", "fast.py::a", "slow.py::a"]
    assert observed.choose("module.py", files, 1) == in_order
    call = next(mutant for mutant in make_mutants(SOURCE) if mutant.before.startswith("file.write("))
    assert call.statement == 13


def test_the_own_files_of_tests_a_module_come_first():
    found = files_of_tests(ROOT / "transforms" / "audioset" / "layout.py")
    assert found[0] == "tests/audioset/test_layout.py" and "tests/pipeline/test_resume.py" not in found[:1]
    assert files_of_tests(ROOT / "pipeline" / "output" / "lock.py")[0] == "tests/pipeline/output/test_lock.py"
    assert not any("integration" in path for path in found)


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """A module with a test in a folder of its own."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "_FOLDER", tmp_path / ".mutation")
    (tmp_path / "module.py").write_text(SOURCE)
    (tmp_path / "test_module.py").write_text("one")
    return tmp_path / "module.py"


def test_results_are_kept_and_survivors_are_tried_again_when_tests_change(module):
    killed, survived, equivalent, *_ = mutants = list(make_mutants(SOURCE))
    known = {"module.py": {equivalent.change: "reason"}}

    def read() -> results.ModuleResults:
        return results.ModuleResults.read(module, ["test_module.py"], known)

    first = read()
    first.add(killed, KILLED)
    first.add(survived, SURVIVED)
    again = read()
    assert [again.has(mutant) for mutant in mutants] == [True] * 3 + [False] * (len(mutants) - 3)
    result = again.of(mutants[:3])
    assert (result["mutants"], result[KILLED], result[SURVIVED], result["equivalent"]) == (3, 1, 1, 1)
    assert result["survivors"] == [
        {"line": survived.line, "before": survived.before, "after": survived.after}
    ]
    (module.parent / "test_module.py").write_text("two")
    assert [read().has(mutant) for mutant in mutants[:3]] == [True, False, True]


def test_the_table_names_survivors_and_shares(module):
    killed, survived, *_ = make_mutants(SOURCE)
    one = results.ModuleResults.read(module, ["test_module.py"], {})
    one.add(killed, KILLED)
    one.add(survived, SURVIVED)
    stream = io.StringIO()
    results.print_table([one.of([killed, survived])], stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"module.py:{survived.line}: {survived.before}  ->  {survived.after}"
    assert lines[1].split() == [
        "module.py",
        "2",
        "mutants,",
        "1",
        "survived,",
        "0",
        "equivalent,",
        "50.0%",
        "noticed",
    ]


def test_an_equivalent_mutant_exists_and_has_a_reason():
    for name, entries in results.read_equivalent().items():
        found = {mutant.change for mutant in make_mutants((ROOT / name).read_text())}
        for change, reason in entries.items():
            assert change in found and len(reason) > 20, (name, change)


@pytest.mark.integration
def test_the_command_tries_mutants_of_a_module(tmp_path):
    path = "transforms/secret_names.py"
    command = [sys.executable, "-m", "tests.mutation", path, "--sample=4", f"--json={tmp_path / 'all.json'}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    (result,) = json.loads((tmp_path / "all.json").read_text())
    assert result["module"] == path and result["mutants"] == 4, ended.stderr
    assert ended.returncode == bool(result["survivors"]) and ended.stdout.splitlines()[-1].startswith(path)
