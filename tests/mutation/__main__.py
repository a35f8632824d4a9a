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
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant, choose, make_mutants
from tests.mutation.results import ModuleResults, print_table, read_equivalent
from tests.mutation.trials import ROOT, Observed, Trial, copies, files_of_tests, import_libraries, observe

# A mutant's tests may take this many times as long as without it, and some seconds for their imports.
_SLOWER, _EXTRA_S = 2.0, 20.0
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
    results = [ModuleResults.read(module, files_of_tests(module), read_equivalent()) for module in modules]
    mutants = [choose(list(make_mutants(module.read_text())), options.sample) for module in modules]
    all_results = []
    with copies(options.processes) as trees:
        unknown = [r for r, tried in zip(results, mutants, strict=True) if not all(map(r.has, tried))]
        observed = observe(trees, {result.name: result.tests for result in unknown})
        for result, tried in zip(results, mutants, strict=True):
            try_mutants(tried, result, observed, trees)
            all_results.append(result.of(tried))
            print_table(all_results[-1:], sys.stdout)
    if len(all_results) > 1:
        print_table(all_results, sys.stdout)
    if options.json:
        Path(options.json).write_text(json.dumps(all_results, indent=2) + "\n")
    return int(any(result["survivors"] for result in all_results))


def try_mutants(
    mutants: Iterable[Mutant], results: ModuleResults, observed: Observed, trees: Sequence[Path]
) -> None:
    """Run tests on the mutants of a module without a result, one per copy of the project at a time."""
    waiting = [mutant for mutant in mutants if not results.has(mutant)]
    running: dict[Path, tuple[Trial, float, Mutant]] = {}
    while waiting or running:
        for tree in trees:
            if tree not in running and waiting:
                mutant = waiting.pop(0)
                tests = observed.choose(results.name, results.tests, mutant.statement)
                limit_s = _SLOWER * sum(observed.seconds[test] for test in tests) + _EXTRA_S
                (tree / results.name).write_text(mutant.source)
                running[tree] = Trial.start(tree, tests), limit_s, mutant
        for tree, (trial, limit_s, mutant) in list(running.items()):
            if outcome := trial.outcome(limit_s):
                results.add(mutant, outcome)
                (tree / results.name).write_text((ROOT / results.name).read_text())
                del running[tree]
        time.sleep(_POLL_S)


def _all_modules() -> list[Path]:
    return [
        path
        for package in ("transforms", "pipeline")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
