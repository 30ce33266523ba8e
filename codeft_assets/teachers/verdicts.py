"""Verdicts on statements: what passes in the sandbox is kept, and every reject has its reason.

The solutions of a statement run in one program, which reports their values. The solution that these choose runs again,
alone, against tests in the sandbox's judge: nothing is kept on the word of code that a model wrote.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_assets.exercises.taught.solutions import (
    ENTRY_POINT,
    Choice,
    Values,
    body_of,
    choose,
    complete,
    program,
    read_report,
    write_test,
)
from codeft_assets.exercises.taught.statement import RejectedError, Statement, parse_statement
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program

LIMITS = Limits(cpu_seconds=1, wall_seconds=30.0)
"""Of a program; its solutions have limits of their own, whose sum is below these."""
_TOGETHER = 4
"""Solutions of one program."""
_TEST = f"def check(candidate):\n    assert {ENTRY_POINT}() is True\n"

Row = dict[str, Any]
Verdict = dict[str, str]
"""``text`` and ``examples``, or ``reason`` and ``detail``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A statement with the solutions that are Python, in the order in which they were written."""

    row: dict[str, Any]
    statement: Statement
    bodies: list[str]


class _NoVerdictError(Exception):
    """The sandbox did not say: the program got no core, or a worker was lost."""


def verdict_of(row: Row, sandbox: Sandbox) -> Verdict | None:
    """Return the verdict on a row; None where the sandbox had none, as on a machine that is too busy."""
    try:
        attempt = _attempt(row)
        return _verified(attempt.statement, _choice(attempt, _report(attempt, sandbox)), sandbox)
    except RejectedError as error:
        return {"reason": error.reason, "detail": error.detail}
    except _NoVerdictError:
        return None


def _attempt(row: Row) -> _Attempt:
    """Return the statement of a row with its solutions.

    Raises:
        RejectedError: there is no statement, or no solution that is Python.
    """
    if row["statement"] is None:
        raise RejectedError("refused", "the teacher did not answer")
    statement = parse_statement(row["statement"], row["start"])
    bodies, faults = [], Counter()
    for body in (body_of(answer, statement.name) for answer in row["solutions"]):
        try:
            complete(_head(statement), body)
        except RejectedError as error:
            faults[error.reason] += 1
            continue
        bodies.append(body)
    if not row["solutions"]:
        raise RejectedError("duplicate", statement.name)
    if not bodies:
        raise RejectedError(faults.most_common(1)[0][0], f"all of {len(row['solutions'])} solutions")
    return _Attempt(row=row, statement=statement, bodies=bodies)


def _head(statement: Statement) -> str:
    return statement.head([example.value for example in statement.examples])


def _report(attempt: _Attempt, sandbox: Sandbox) -> dict[str, Values]:
    """Return the values of each body that ended.

    A body that ended its program, as a crash does, is not run again; those after it run in another program.
    """
    report: dict[str, Values] = {}
    waiting = list(dict.fromkeys(attempt.bodies))
    while waiting:
        together = waiting[:_TOGETHER]
        found = _values(attempt, together, sandbox)
        report |= {body: values for body, values in zip(together, found, strict=False) if values is not None}
        waiting = waiting[min(len(found) + 1, len(together)) :]
    return report


def _values(attempt: _Attempt, bodies: Sequence[str], sandbox: Sandbox) -> list[Values | None]:
    mark = secrets.token_hex(8)
    sources = [complete(_head(attempt.statement), body) for body in bodies]
    source = program(attempt.statement, sources, mark)
    grade = _first_grade(Program(key="values", source=source, entry_point=ENTRY_POINT, test=_TEST), sandbox)
    return read_report(grade.stderr, mark)


def _choice(attempt: _Attempt, report: Mapping[str, Values]) -> Choice:
    """Return the choice among the bodies that ended, each as often as it was written.

    Raises:
        RejectedError: there is none.
    """
    bodies = [body for body in attempt.bodies if body in report]
    if not bodies:
        raise RejectedError("timeout", "no solution ended within the limits")
    return choose(attempt.statement, bodies, [report[body] for body in bodies])


def _verified(statement: Statement, choice: Choice, sandbox: Sandbox) -> Verdict:
    """Return the verdict on a choice, tested in a process of its own.

    Raises:
        RejectedError: its values are not those of the report.
    """
    test = write_test(statement, choice.values)
    grade = _first_grade(Program(key="choice", source=choice.code, entry_point=statement.name, test=test), sandbox)
    if grade.verdict != "passed":
        raise RejectedError("not_reproduced", f"{grade.reason}: {grade.detail}")
    return {"text": choice.code, "examples": "computed" if choice.is_computed else "teacher"}


def _first_grade(program: Program, sandbox: Sandbox) -> Grade:
    """Return the grade of one run: a late program is not run again, and nothing waits for a quiet machine."""
    grade = sandbox.submit(program).result()
    if grade.verdict == "unscored":
        raise _NoVerdictError(grade.reason)
    return grade
