"""The mutants of a module: copies of its source with one small mistake each, made by mutmut's operators."""

import ast
import bisect
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import libcst as cst
from libcst import matchers
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators, operator_string
from mutmut.mutation.pragma_handling import IgnoredCode


def _drop_call(node: cst.SimpleStatementLine) -> Iterable[cst.CSTNode]:
    """Drop a statement that only calls something, such as `os.fsync(file)`; mutmut has no such operator."""
    if matchers.matches(node, matchers.SimpleStatementLine([matchers.Expr(matchers.Call())])):
        yield node.with_changes(body=[cst.Pass()])


# Mistakes in texts are left out: most of them are in messages, and the tests of those compare parts of them.
_OPERATORS = [
    *((kind, operator) for kind, operator in mutation_operators if operator is not operator_string),
    (cst.SimpleStatementLine, _drop_call),
]


@dataclass
class Mutant:
    """A mutant of a module.

    Attributes:
      key: names the mutant as long as the module is the same.
      line: number of the changed line, from 1.
      statement: number of the first line of the statement with the change.
      text: that line.
      before, after: the changed code.
      make: returns the whole module with the change.
    """

    key: str
    line: int
    text: str
    statement: int
    before: str
    after: str
    make: Callable[[], str]

    @property
    def change(self) -> tuple[str, str, str]:
        """The line's text, and the code before and after."""
        return self.text, self.before, self.after

    @cached_property
    def source(self) -> str:
        """The whole module with the change; made when it is asked for, since it takes 40 ms."""
        return self.make()


def make_mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = MutationVisitor(_OPERATORS, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    starts = sorted({node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)})
    lines = source.splitlines()
    for ordinal, mutation in enumerate(visitor.mutations):
        key = hashlib.sha256(f"{ordinal} {source}".encode()).hexdigest()[:16]
        line = positions[mutation.original_node].start.line
        number = bisect.bisect_right(starts, line)
        change = mutation.original_node, mutation.mutated_node
        texts = (_text(module, node) for node in change)
        text = lines[line - 1].strip()
        yield Mutant(key, line, text, starts[number - 1], *texts, partial(_replace, module, *change))


def choose(mutants: list[Mutant], count: int | None) -> list[Mutant]:
    """Return `count` mutants by hash, so that the choice is the same each time; None: all."""
    if count is None or len(mutants) <= count:
        return mutants
    chosen = set(sorted(mutant.key for mutant in mutants)[:count])
    return [mutant for mutant in mutants if mutant.key in chosen]


def _replace(module: cst.Module, original: cst.CSTNode, mutated: cst.CSTNode) -> str:
    changed = module.deep_replace(original, mutated)
    assert isinstance(changed, cst.Module)
    return changed.code


def _text(module: cst.Module, node: cst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())
