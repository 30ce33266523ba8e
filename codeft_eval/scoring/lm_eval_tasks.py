"""What the task files under tasks/ call: rows in, verdicts and metrics out.

lm-eval prompts, generates and filters; the active `Scoring` says which benchmark is meant and who judges. Nothing
here talks to the Hub: rows are handed over in memory.
"""

import contextvars
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from codeft_eval.benchmarks.items import Item
from codeft_eval.sandbox.programs import Grade


@dataclass(frozen=True, slots=True)
class Scoring:
    """The items of one run and the judge of their completions."""

    items: Sequence[Item]
    judge: Callable[[Sequence[Item], Sequence[str]], list[Grade]]
    num_samples: int = 1
    "completions an item"

    @property
    def repeated_items(self) -> list[Item]:
        """Each item as often as it has completions, those of an item together."""
        return [item for item in self.items for _ in range(self.num_samples)]


_ACTIVE: contextvars.ContextVar[Scoring] = contextvars.ContextVar("scoring")


@contextmanager
def scoring(active: Scoring) -> Iterator[None]:
    """Makes `active` the run that the task files mean."""
    token = _ACTIVE.set(active)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def dataset(**_metadata: Any) -> dict[str, Any]:
    """The rows of the active run as the `test` split: one for each completion."""
    active = _ACTIVE.get()
    return _as_split((item, sample) for item in active.items for sample in range(active.num_samples))


def solutions(**_metadata: Any) -> dict[str, Any]:
    """One row for each item that has a canonical solution."""
    return _as_split((item, 0) for item in _ACTIVE.get().items if item.solution)


def _as_split(rows: Iterable[tuple[Item, int]]) -> dict[str, Any]:
    from datasets import Dataset

    columns = ("task_id", "prompt", "solution", "weighed_text", "is_judged")
    plain = [{column: getattr(item, column) for column in columns} | {"sample": sample} for item, sample in rows]
    return {"test": Dataset.from_list(plain)}


def judge_completions(responses: list[list[str]], rows: list[dict[str, Any]]) -> list[str]:
    """Judges all completions of the task at once; each becomes its outcome as JSON."""
    active = _ACTIVE.get()
    items = {item.task_id: item for item in active.items}
    outcomes = active.judge([items[row["task_id"]] for row in rows], [response[0] for response in responses])
    return [json.dumps(asdict(outcome)) for outcome in outcomes]


def completion_metrics(_row: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """1 or 0 for a verdict; None for an item that has none."""
    outcome = json.loads(results[0])
    return {"passed": {"passed": 1, "failed": 0, "unscored": None}[outcome["verdict"]]}


def solution_metrics(row: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
    """The log-likelihood and size of one canonical solution."""
    return {"bits_per_byte": (results[0][0], len(row["weighed_text"].encode()))}


def mean_of_scored(values: list[int | None]) -> float:
    """The mean over items that have a verdict."""
    scored = [value for value in values if value is not None]
    return sum(scored) / len(scored) if scored else math.nan


def bits_per_byte(values: list[tuple[float, int]]) -> float:
    """Bits for a byte over the solutions that fit the model's context."""
    weighed = [(value, size) for value, size in values if not math.isnan(value)]
    if not weighed:
        return math.nan
    return -sum(value for value, _ in weighed) / math.log(2) / sum(size for _, size in weighed)
