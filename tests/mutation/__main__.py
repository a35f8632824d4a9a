"""python -m tests.mutation [FILE ...] [--changed]: does a test notice a small mistake in the code?

For each mutant of a module, a copy with one mistake, it runs the module's tests until one fails. Results are
kept in .mutation/, so that the command continues where it was stopped, and tests a survivor again when the
tests have changed. The exit status is 1 if a mutant survives that equivalent.json does not explain.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant, choose, make_mutants
from tests.mutation.results import ModuleResults, print_table, read_equivalent
from tests.mutation.trials import ROOT, Trial, copies, files_of_tests, import_libraries, tests_by_line

# A mutant's tests may take this much longer than all tests without it.
_SLOWER, _EXTRA_S = 1.0, 10.0
_POLL_S = 0.02


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="modules (default: all of the project)")
    parser.add_argument(
        "--changed", nargs="?", const="main", metavar="REF", help="modules that differ from a commit (main)"
    )
    parser.add_argument(
        "--sample", type=int, metavar="N", help="mutants per module, chosen by hash (default: all)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="mutants at the same time")
    parser.add_argument("--json", metavar="FILE", help="write all results to a file")
    options = parser.parse_args(argv)
    modules = [Path(file).resolve() for file in options.files] or _all_modules()
    if options.changed:
        command = ["git", "diff", "--name-only", options.changed]
        changed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        modules = [module for module in modules if str(module.relative_to(ROOT)) in changed.splitlines()]

    import_libraries()
    all_results = []
    with copies(options.processes) as trees:
        for module in modules:
            results = ModuleResults.read(module, files_of_tests(module), read_equivalent())
            mutants = choose(list(make_mutants(module.read_text())), options.sample)
            try_mutants(module, mutants, results, trees)
            all_results.append(results.of(mutants))
            print_table(all_results[-1:], sys.stdout)
    if len(all_results) > 1:
        print_table(all_results, sys.stdout)
    if options.json:
        Path(options.json).write_text(json.dumps(all_results, indent=2) + "\n")
    return int(any(result["survivors"] for result in all_results))


def try_mutants(module: Path, mutants: list[Mutant], results: ModuleResults, trees: list[Path]) -> None:
    """Run tests on the mutants without a result, one per copy of the project at a time."""
    waiting = [mutant for mutant in mutants if not results.has(mutant)]
    if not waiting:
        return
    tests, wall_s = tests_by_line(trees[0], module, results.tests)
    running: dict[Path, tuple[Trial, Mutant]] = {}
    relative = module.relative_to(ROOT)
    while waiting or running:
        for tree in trees:
            if tree not in running and waiting:
                mutant = waiting.pop(0)
                (tree / relative).write_text(mutant.source)
                running[tree] = Trial.start(tree, _chosen(mutant, tests, results.tests)), mutant
        for tree, (trial, mutant) in list(running.items()):
            if outcome := trial.outcome(_SLOWER * wall_s + _EXTRA_S):
                results.add(mutant, outcome)
                (tree / relative).write_text(module.read_text())
                del running[tree]
        time.sleep(_POLL_S)


def _chosen(mutant: Mutant, tests: dict[int, list[str]], files: Sequence[str]) -> list[str]:
    """Return the tests that execute a mutant's statement, or the module's own if only its import does."""
    names = [name for line in range(mutant.first_line, mutant.last_line + 1) for name in tests.get(line, ())]
    return list(dict.fromkeys(names)) or [files[0]]


def _all_modules() -> list[Path]:
    return [
        path
        for package in ("transforms", "pipeline")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
