"""The results of mutants: kept from run to run, and shown as a table."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tests.mutation.mutants import Mutant
from tests.mutation.trials import ROOT, SURVIVED

_FOLDER = ROOT / ".mutation"
_EQUIVALENT = Path(__file__).with_name("equivalent.json")
# The text of a mutant's line, and its change.
Change = tuple[str, str, str]
# module -> change -> why no test can notice it.
Equivalent = dict[str, dict[Change, str]]


def read_equivalent() -> Equivalent:
    return {
        module: {(entry["line"], entry["before"], entry["after"]): entry["reason"] for entry in entries}
        for module, entries in json.loads(_EQUIVALENT.read_text()).items()
    }


@dataclass
class ModuleResults:
    """The results of a module.

    Attributes:
      name: path of the module in the project.
      tests: paths of its tests.
      outcomes: key of a mutant -> its outcome. A survivor counts only if its tests are the same as now.
    """

    name: str
    tests: Sequence[str]
    outcomes: dict[str, str]
    equivalent: dict[Change, str]

    @classmethod
    def read(cls, module: Path, tests: Sequence[str], equivalent: Equivalent) -> "ModuleResults":
        name = str(module.relative_to(ROOT))
        results = cls(name, tests, {}, equivalent.get(name, {}))
        if results._path.exists():
            kept = json.loads(results._path.read_text())
            is_same = kept["tests"] == results._hash()
            results.outcomes = {k: o for k, o in kept["outcomes"].items() if is_same or o != SURVIVED}
        return results

    def has(self, mutant: Mutant) -> bool:
        return mutant.key in self.outcomes or mutant.change in self.equivalent

    def add(self, mutant: Mutant, outcome: str) -> None:
        self.outcomes[mutant.key] = outcome
        self._path.parent.mkdir(exist_ok=True)
        text = json.dumps({"tests": self._hash(), "outcomes": self.outcomes})
        self._path.write_text(text)

    def of(self, mutants: Iterable[Mutant]) -> dict[str, Any]:
        """Return the numbers of mutants by outcome, and the survivors, as JSON has them."""
        counts: Counter[str] = Counter()
        survivors = []
        for mutant in mutants:
            outcome = "equivalent" if mutant.change in self.equivalent else self.outcomes[mutant.key]
            counts[outcome] += 1
            if outcome == SURVIVED:
                survivors.append({"line": mutant.line, "before": mutant.before, "after": mutant.after})
        return {"module": self.name, "mutants": counts.total(), **counts, "survivors": survivors}

    @property
    def _path(self) -> Path:
        return _FOLDER / (self.name.replace("/", ".") + ".json")

    def _hash(self) -> str:
        texts = [(ROOT / path).read_bytes() for path in self.tests]
        return hashlib.sha256(b"\0".join(texts)).hexdigest()


def print_table(results: Sequence[dict[str, Any]], stream: TextIO) -> None:
    """Print a line per module, and before it its survivors."""
    for result in results:
        for mutant in result["survivors"] if len(results) == 1 else ():
            print(
                f"{result['module']}:{mutant['line']}: {mutant['before']}  ->  {mutant['after']}", file=stream
            )
    total: Counter[str] = Counter()
    for result in results:
        total.update({name: number for name, number in result.items() if isinstance(number, int)})
    rows = [*results, {"module": "all", **total}] if len(results) > 1 else results
    for row in rows:
        tried = row["mutants"] - row.get("equivalent", 0)
        noticed = tried - row.get(SURVIVED, 0)
        share = f"{noticed / tried:6.1%}" if tried else "  none"
        counts = f"{row['mutants']:6} mutants, {row.get(SURVIVED, 0):4} survived"
        counts += f", {row.get('equivalent', 0):3} equivalent"
        print(f"{row['module']:50} {counts}, {share} noticed", file=stream, flush=True)
