"""Doctests of function units, run in the sandbox: a unit whose examples fail is a reject.

A program runs its own doctests and reports their number of failures: a test of documents, which nobody has a reason to
forge, and not of a model.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codeft_assets.curation.ingest.drafts import Adapter, Draft, Reject, Row
from codeft_assets.python_names import without_warnings
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program

FAILED = "doctest_failed"
NO_VERDICT = "doctest_unverified"
"""The sandbox gave no verdict."""
LIMITS = Limits(cpu_seconds=4, wall_seconds=10.0)
_ENTRY_POINT = "num_failed_doctests"
_RUNNER = '''

def num_failed_doctests():
    """Run the examples of one function on a copy of the module's names."""
    import doctest

    test = doctest.DocTestParser().get_doctest({name}.__doc__, dict(globals()), {name!r}, None, 0)
    return doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None).failed
'''
_TEST = f"def check(candidate):\n    assert {_ENTRY_POINT}() == 0\n"


@dataclass(frozen=True, slots=True)
class WithDoctests:
    """An adapter whose documents' doctests pass, where they have any."""

    adapter: Adapter
    sandbox: Sandbox

    def __call__(self, row: Row) -> Sequence[Draft | Reject]:
        """Return the pieces of ``row``; a draft whose doctests fail is a reject."""
        pieces = self.adapter(row)
        programs = {number: found for number, piece in enumerate(pieces) if (found := _program(piece)) is not None}
        grades = dict(zip(programs, self.sandbox.run(programs.values()), strict=True))
        return [_judged(piece, grades.get(number)) for number, piece in enumerate(pieces)]


@without_warnings()
def _program(piece: Draft | Reject) -> Program | None:
    """Return the program that runs a draft's doctests; None where it has none."""
    if isinstance(piece, Reject):
        return None
    name = piece.part.partition(":")[0]
    functions = [
        node
        for node in ast.parse(piece.text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    if not functions or ">>>" not in (ast.get_docstring(functions[0]) or ""):
        return None
    return Program(key=piece.part, source=piece.text + _RUNNER.format(name=name), entry_point=_ENTRY_POINT, test=_TEST)


def _judged(piece: Draft | Reject, grade: Grade | None) -> Draft | Reject:
    if grade is None or grade.verdict == "passed" or isinstance(piece, Reject):
        return piece
    reason = FAILED if grade.verdict == "failed" else NO_VERDICT
    return Reject(part=piece.part, reason=reason, detail=f"{grade.reason}: {grade.detail}", text=piece.text)
