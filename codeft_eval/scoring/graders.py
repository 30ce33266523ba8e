"""Graders decide whether a completion is right: the sandbox runs programs, answers are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program
from codeft_eval.sandbox.python.libraries import is_installed

NO_LIBRARY = "no_library"
"""Reason of an unscored item whose libraries are not installed."""
_NO_PROGRAM = "none: answers are compared, no program runs"


class Grader(Protocol):
    """Grades completions at an isolation level; ``reasons`` maps each level to why it works or not."""

    isolation: str
    reasons: dict[str, str]
    limits: Limits | None
    tool_versions: dict[str, str]
    """Of the compilers, interpreters and programs that a verdict depends on."""

    def begin(self, item: Item, completion: str) -> None:
        """Start grading a completion in the background; ``grade`` returns the result."""
        ...

    def grade(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        """Return the grades, in order; an item's equal completions are graded once."""
        ...


@contextmanager
def open_grader(
    benchmark: Benchmark, *, level: str | None = None, allow_unsafe: bool = False, limits: Limits | None = None
) -> Iterator[Grader]:
    """Yield the benchmark's grader; the sandbox is chosen before any generation.

    Raises:
        SandboxError: programs must run, no isolation works here and ``allow_unsafe`` was not given.
    """
    if benchmark.answer_check:
        yield _AnswerGrader(benchmark.answer_check)
        return
    language, libraries = benchmark.languages[0], benchmark.libraries
    if benchmark.may_lack_libraries:
        libraries = tuple(filter(is_installed, libraries))
    with Sandbox(
        limits=limits, level=level, allow_unsafe=allow_unsafe, language=language, libraries=libraries
    ) as sandbox:
        yield _ProgramGrader(sandbox, frozenset(libraries))


class _ProgramGrader:
    def __init__(self, sandbox: Sandbox, libraries: frozenset[str]) -> None:
        self._sandbox, self._libraries = sandbox, libraries
        self.isolation, self.reasons = sandbox.isolation.level, sandbox.isolation.reasons
        self.limits: Limits | None = sandbox.limits
        self.tool_versions = sandbox.tool_versions
        self._begun: dict[tuple[str, str], tuple[Program, Future[Grade]]] = {}

    def begin(self, item: Item, completion: str) -> None:
        key = (item.task_id, completion)
        if key not in self._begun and self._libraries.issuperset(item.libraries):
            program = item.to_program(completion)
            self._begun[key] = program, self._sandbox.submit(program)

    def grade(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        pairs = list(zip(items, completions, strict=True))
        for item, completion in pairs:
            self.begin(item, completion)
        distinct = list(dict.fromkeys(key for item, text in pairs if (key := (item.task_id, text)) in self._begun))
        grades = dict(zip(distinct, self._sandbox.gather(self._begun[key] for key in distinct), strict=True))
        return [grades.get((item.task_id, text)) or self._without_libraries(item) for item, text in pairs]

    def _without_libraries(self, item: Item) -> Grade:
        absent = ", ".join(sorted({*item.libraries} - self._libraries))
        detail = f"not installed, or not declared by the benchmark: {absent}; pip install them to score the item"
        return Grade(key=item.task_id, verdict="unscored", reason=NO_LIBRARY, detail=detail, isolation=self.isolation)


class _AnswerGrader:
    isolation = _NO_PROGRAM
    reasons: dict[str, str] = {}  # noqa: RUF012  nothing is isolated, so there are no reasons
    limits: Limits | None = None
    tool_versions: dict[str, str] = {}  # noqa: RUF012  no tool runs

    def __init__(self, check: AnswerCheck) -> None:
        self._check = check

    def begin(self, item: Item, completion: str) -> None:
        pass

    def grade(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        return [self._grade_one(item, text) for item, text in zip(items, completions, strict=True)]

    def _grade_one(self, item: Item, completion: str) -> Grade:
        if not item.answer:
            return Grade(key=item.task_id, verdict="unscored", reason="no_reference_answer", isolation=self.isolation)
        found = self._check.find_answer(completion)
        detail = f"answered {found}"
        if found is not None and self._check.is_equal(found, item.answer):
            return Grade(key=item.task_id, verdict="passed", reason="passed", detail=detail, isolation=self.isolation)
        reason = "no_answer" if found is None else "wrong_answer"
        return Grade(key=item.task_id, verdict="failed", reason=reason, detail=detail, isolation=self.isolation)
