"""The mutants of a module: copies of its source with one small mistake each, made by mutmut's operators."""

import ast
import bisect
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Mutant:
    """A mutant of a module.

    Attributes:
      line: number of the changed line, from 1.
      first_line, last_line: of the statement with the change, without the statements in it.
      before, after: the changed code.
      source: the whole module with the change.
    """

    line: int
    first_line: int
    last_line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        """Names the mutant, also after changes elsewhere in the module."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


def make_mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module in the order of its lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = MutationVisitor(_OPERATORS, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    starts = sorted({node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)})
    for mutation in visitor.mutations:
        line = positions[mutation.original_node].start.line
        number = bisect.bisect_right(starts, line)
        end = starts[number] - 1 if number < len(starts) else len(source.splitlines())
        mutated = module.deep_replace(mutation.original_node, mutation.mutated_node)
        texts = (_text(module, node) for node in (mutation.original_node, mutation.mutated_node))
        yield Mutant(line, starts[number - 1], end, *texts, mutated.code)


def choose(mutants: list[Mutant], count: int | None) -> list[Mutant]:
    """Return `count` mutants by hash, so that the choice is the same each time; None: all."""
    if count is None or len(mutants) <= count:
        return mutants
    chosen = set(sorted(mutant.key for mutant in mutants)[:count])
    return [mutant for mutant in mutants if mutant.key in chosen]


def _text(module: cst.Module, node: cst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())
