"""The check of the harness itself: canonical solutions pass and empty completions fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codeft_assets.base.files import write_atomically
from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.multipl_e_solutions import table_solution
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.graders import NO_LIBRARY, open_grader
from codeft_eval.scoring.options import Options

CHECK_FILE = "check.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessCheck:
    """Result of the harness check: items on which the grader is wrong, and those declared to fail."""

    benchmark: str
    tier: str
    num_items: int
    unexpected: dict[str, str]
    """Task id -> a canonical solution that fails, or an empty one that passes."""
    declared: dict[str, str]
    """Canonical solutions that fail, and empty ones that pass, for the reason the entry states."""

    @property
    def passed(self) -> bool:
        """Whether every item was graded as expected."""
        return not self.unexpected


def check_harness(benchmark: Benchmark, options: Options) -> HarnessCheck:
    """Grade canonical solutions, which must pass, and empty completions, which must fail, item by item.

    Where the upstream file has no solutions, a table of the tests' own answers takes their place (MultiPL-E), or only
    empty completions are checked. Items that have a likelihood only have nothing to check.
    """
    items = [item for item in options.items(benchmark) if item.is_gradable]
    solvable = [item for item in items if item.solution or item.language != "python"]
    with open_grader(benchmark, level=options.tier, allow_unsafe=options.allow_unsafe) as grader:
        solved = grader.grade(solvable, [item.solution or table_solution(item) for item in solvable])
        empty = grader.grade(items, ["" for _ in items])
        isolation = grader.isolation
    declared = {o.key: benchmark.failing_solutions[o.key] for o in solved if o.key in benchmark.failing_solutions}
    needless = {o.key: benchmark.needless_solutions[o.key] for o in empty if o.key in benchmark.needless_solutions}
    return HarnessCheck(
        benchmark=benchmark.name,
        tier=isolation,
        num_items=len(items),
        unexpected=_unexpectedly_solved(solved, declared) | _unexpectedly_empty(empty, needless),
        declared=declared | needless,
    )


def write_check(folder: Path, check: HarnessCheck) -> None:
    """Write the check as JSON."""
    document = {"format": 1, **asdict(check), "passed": check.passed}
    write_atomically(folder / CHECK_FILE, json.dumps(document, indent=2) + "\n")


def _unexpectedly_solved(solved: Sequence[Grade], declared: dict[str, str]) -> dict[str, str]:
    return {
        grade.key: f"canonical solution: {grade.reason}: {grade.detail}"
        for grade in solved
        if grade.reason != NO_LIBRARY and (grade.verdict == "passed") == (grade.key in declared)
    }


def _unexpectedly_empty(empty: Sequence[Grade], needless: dict[str, str]) -> dict[str, str]:
    return {
        grade.key: f"empty completion: {grade.verdict} {grade.reason}"
        for grade in empty
        if grade.reason != NO_LIBRARY and grade.verdict != ("passed" if grade.key in needless else "failed")
    }
