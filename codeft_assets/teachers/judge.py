"""The second half, where the sandbox is: what passes is kept, and every reject is counted with its reason.

The solutions of a statement run in one program, which reports their values. The solution that these choose runs again,
alone, against tests in the sandbox's judge: nothing is kept on the word of code that a model wrote. Verdicts are on
the disk a few hundred at a time, so that a killed run goes on where it was.
"""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.files import replacing_file, write_atomically
from codeft_assets.exercises.taught.solutions import (
    ENTRY_POINT,
    Choice,
    body_of,
    choose,
    complete,
    program,
    read_report,
    write_test,
)
from codeft_assets.exercises.taught.statement import RejectedError, Statement, parse_statement
from codeft_assets.teachers.generate import SUMMARY, read_parts
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits, Program

EXERCISES, REJECTS, YIELD, VERDICTS = "exercises.jsonl.gz", "rejects.jsonl.gz", "yield.json", "verdicts.sqlite"
LIMITS = Limits(cpu_seconds=1, wall_seconds=30.0)
"""Of all solutions of a statement together; they are short functions on small values."""
JUDGE_VERSION = "1"
"""Counts up when the same texts get another verdict, so that stored ones are made again."""
_VERDICT = f"verdict {JUDGE_VERSION}"
_ROWS_AT_A_TIME = 256
_TEST = f"def check(candidate):\n    assert {ENTRY_POINT}() is True\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A statement with the solutions that are Python, in the order in which they were written."""

    row: dict[str, Any]
    statement: Statement
    bodies: list[str]


def judge(folder: Path) -> dict[str, Any]:
    """Write ``exercises.jsonl.gz`` and ``rejects.jsonl.gz`` beside the parts; return the yield, which is written too.

    Raises:
        SandboxError: no isolation works here.
        ValueError: there are no parts.
    """
    begin = time.monotonic()
    reasons: Counter[str] = Counter()
    with AnswerStore(folder / VERDICTS) as store, Sandbox(limits=LIMITS) as sandbox:
        for rows in _batches(folder):
            known = {key for key, _ in store.get(_VERDICT, [row["key"] for row in rows])}
            found = _verdicts([row for row in rows if row["key"] not in known], sandbox)
            store.put(_VERDICT, [(row["key"], json.dumps(verdict)) for row, verdict in found])
        reasons.update(_write_results(folder, store))
    if not reasons:
        raise ValueError(f"{folder} holds no generated-*.jsonl.gz; generate first")
    costs = json.loads((folder / SUMMARY).read_text(encoding="utf-8")) if (folder / SUMMARY).is_file() else {}
    passed = {reason: reasons.pop(reason) for reason in ("teacher", "computed") if reason in reasons}
    report = {
        "made": sum(reasons.values()) + sum(passed.values()),
        "passed": sum(passed.values()),
        "passed_by_examples": passed,
        "rejected": dict(reasons.most_common()),
        "judge_seconds": round(time.monotonic() - begin, 1),
        "generation": costs,
    }
    write_atomically(folder / YIELD, json.dumps(report, indent=1) + "\n")
    return report


def _batches(folder: Path) -> Iterator[list[dict[str, Any]]]:
    rows = _distinct(folder)
    while batch := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
        yield batch


def _distinct(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield each row once, also where two parts hold it."""
    seen: set[str] = set()
    for row in read_parts(folder):
        if row["key"] not in seen:
            seen.add(row["key"])
            yield row


def _verdicts(rows: Sequence[dict[str, Any]], sandbox: Sandbox) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each row with its verdict: code and examples, or a reason and a detail."""
    verdicts: list[tuple[dict[str, Any], dict[str, Any]]] = []
    attempts: list[_Attempt] = []
    for row in rows:
        try:
            attempts.append(_attempt(row))
        except RejectedError as error:
            verdicts.append((row, {"reason": error.reason, "detail": error.detail}))
    chosen: list[tuple[_Attempt, Choice]] = []
    for attempt, report in zip(attempts, _reports(attempts, sandbox), strict=True):
        try:
            if not report:
                raise RejectedError("timeout", "no solution ended within the limits")
            chosen.append((attempt, choose(attempt.statement, *_paired(attempt, report))))
        except RejectedError as error:
            verdicts.append((attempt.row, {"reason": error.reason, "detail": error.detail}))
    return verdicts + _verify(chosen, sandbox)


def _attempt(row: dict[str, Any]) -> _Attempt:
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


Report = dict[str, list[dict[str, str]]]
"""Body -> its values."""


def _reports(attempts: Sequence[_Attempt], sandbox: Sandbox) -> list[Report]:
    """Return the values of the bodies that ended; where a statement's do not end together, each runs alone."""
    together = _run([(attempt, list(dict.fromkeys(attempt.bodies))) for attempt in attempts], sandbox)
    single = [
        (attempt, [body])
        for attempt, report in zip(attempts, together, strict=True)
        for body in dict.fromkeys(attempt.bodies)
        if not report
    ]
    alone = iter(_run(single, sandbox))
    reports = []
    for attempt, report in zip(attempts, together, strict=True):
        found = report or {}
        for _ in dict.fromkeys(attempt.bodies) if not report else ():
            found |= next(alone)
        reports.append(found)
    return reports


def _run(jobs: Sequence[tuple[_Attempt, list[str]]], sandbox: Sandbox) -> list[Report]:
    """Return the report of each job, empty where its program did not write one."""
    marks = [secrets.token_hex(8) for _ in jobs]
    programs = [
        Program(
            key=attempt.row["key"],
            source=program(attempt.statement, [complete(_head(attempt.statement), body) for body in bodies], mark),
            entry_point=ENTRY_POINT,
            test=_TEST,
        )
        for (attempt, bodies), mark in zip(jobs, marks, strict=True)
    ]
    reports = []
    for (_, bodies), mark, grade in zip(jobs, marks, sandbox.run(programs), strict=True):
        values = read_report(grade.stderr, mark, len(bodies))
        reports.append(dict(zip(bodies, values, strict=True)) if values else {})
    return reports


def _paired(attempt: _Attempt, report: Report) -> tuple[list[str], list[list[dict[str, str]]]]:
    """Return the bodies that ended, each as often as it was written, and their values."""
    bodies = [body for body in attempt.bodies if body in report]
    return bodies, [report[body] for body in bodies]


def _verify(chosen: Sequence[tuple[_Attempt, Choice]], sandbox: Sandbox) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the verdicts of choices, each tested in a process of its own."""
    programs = [
        Program(
            key=attempt.row["key"],
            source=choice.code,
            entry_point=attempt.statement.name,
            test=write_test(attempt.statement, choice.values),
        )
        for attempt, choice in chosen
    ]
    verdicts = []
    for (attempt, choice), grade in zip(chosen, sandbox.run(programs), strict=True):
        examples = "computed" if choice.is_computed else "teacher"
        passed = {"text": choice.code, "examples": examples}
        failed = {"reason": "not_reproduced", "detail": f"{grade.reason}: {grade.detail}"}
        verdicts.append((attempt.row, passed if grade.verdict == "passed" else failed))
    return verdicts


def _write_results(folder: Path, store: AnswerStore) -> Counter[str]:
    """Write kept exercises and rejects in the order of the parts; return their counts by examples or reason."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        exercises, rejects = (stack.enter_context(_replacing_lines(folder / name)) for name in (EXERCISES, REJECTS))
        for row, verdict in _final_verdicts(folder, store):
            counts[verdict.get("reason") or verdict["examples"]] += 1
            facts = {name: row[name] for name in ("key", "topic", "subject", "level", "style")} | verdict
            if "text" in verdict:
                exercises.write(json.dumps(facts | {"language": "python"}) + "\n")
            else:
                rejects.write(json.dumps(facts | {"statement": row["statement"]}) + "\n")
    return counts


def _final_verdicts(folder: Path, store: AnswerStore) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield rows with their verdicts; a text that was kept before is a duplicate."""
    seen: set[str] = set()
    for rows in _batches(folder):
        verdicts = dict(store.get(_VERDICT, [row["key"] for row in rows]))
        for row in rows:
            verdict = json.loads(verdicts[row["key"]])
            if verdict.get("text") in seen:
                verdict = {"reason": "duplicate", "detail": "the same exercise was kept before"}
            elif "text" in verdict:
                seen.add(verdict["text"])
            yield row, verdict


@contextmanager
def _replacing_lines(path: Path) -> Iterator[IO[str]]:
    with replacing_file(path) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as lines:
        yield lines
