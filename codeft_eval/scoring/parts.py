"""A run in parts: workers generate and judge some of the items each, and the run of the whole uses what they made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from codeft_eval.benchmarks.benchmark import Benchmark, Item
from codeft_eval.benchmarks.catalogue import data_sha256
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.graders import Grader
from codeft_eval.scoring.samples import SAMPLES_FILE, grade_of, read_samples
from codeft_eval.scoring.scores import SCORES_FILE, RunIdentity, read_score

T = TypeVar("T")
_SAME = ("model_hash", "settings", "protocol_name", "protocol", "prompt_end")


def items_of_part(items: Sequence[T], part: tuple[int, int], benchmark: Benchmark) -> list[T]:
    """Return each n-th item, from the part's number on.

    Raises:
        ValueError: the part has no items, or the benchmark's items cannot be divided.
    """
    number, count = part
    if count > 1 and benchmark.lm_eval_task:
        raise ValueError(f"part {number}/{count} of {benchmark.name!r}: lm-eval runs its own tasks whole; leave it out")
    found = list(items[number - 1 :: count])
    if not found:
        raise ValueError(
            f"part {number}/{count} of {benchmark.name!r}: there are {len(items)} items; ask for fewer parts"
        )
    return found


class KnownGrades:
    """A grader that has the verdicts of finished parts, and asks another one for the rest."""

    def __init__(self, grader: Grader, parts: Iterable[Path], benchmark: Benchmark, identity: RunIdentity) -> None:
        self._grader = grader
        self.isolation, self.reasons = grader.isolation, grader.reasons
        self.limits, self.tool_versions = grader.limits, grader.tool_versions
        self._known = dict(pair for folder in parts for pair in _grades(folder, grader, benchmark, identity))

    def begin(self, item: Item, completion: str) -> None:
        """Start grading a completion that no part has graded."""
        if (item.task_id, completion) not in self._known:
            self._grader.begin(item, completion)

    def grade(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        """Return the grades, in order."""
        pairs = list(zip(items, completions, strict=True))
        rest = [(item, text) for item, text in pairs if (item.task_id, text) not in self._known]
        found = iter(self._grader.grade([item for item, _ in rest], [text for _, text in rest]))
        return [self._known.get((item.task_id, text)) or next(found) for item, text in pairs]


def _grades(
    folder: Path, grader: Grader, benchmark: Benchmark, identity: RunIdentity
) -> Iterable[tuple[tuple[str, str], Grade]]:
    """Yield the verdicts of a part that was asked and judged as this run is; those of any other are made again."""
    if not (folder / SCORES_FILE).is_file():
        return
    score = read_score(folder)
    expected: dict[str, Any] = {name: getattr(identity, name) for name in _SAME}
    expected |= {"version": benchmark.version, "data_sha256": data_sha256(benchmark), "tier": grader.isolation}
    expected |= {
        "tool_versions": dict(grader.tool_versions),
        "samples_sha256": hashlib.sha256((folder / SAMPLES_FILE).read_bytes()).hexdigest(),
    }
    if all(getattr(score, name) == value for name, value in expected.items()):
        for row in read_samples(folder):
            if row["verdict"] != "unscored":
                yield (row["task_id"], row["completion"]), grade_of(row)
