"""pass@1 of the completions of a training run: a small score that costs the training nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.generation.decoding import cut_at_stop
from codeft_eval.scoring.graders import open_grader

PASS_AT_1, NUM_SCORED = "probe_pass_at_1", "probe_num_scored"
_FIRST = "embedded"
"""The benchmark whose figures have no suffix, as in the metrics of earlier runs."""


def pass_at_1_key(name: str) -> str:
    """Return the key of pass@1 of benchmark ``name`` in an entry of metrics."""
    return PASS_AT_1 if name == _FIRST else f"{PASS_AT_1}_{name}"


def read_completions(metrics: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield ``(step, completions)`` of the entries of a run's metrics that have any."""
    for line in metrics.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "completions" in entry:
            yield entry["step"], entry["completions"]


def grade_by_benchmark(names: Sequence[str], completions: Mapping[str, str]) -> dict[str, float]:
    """Return pass@1 and the number graded of each benchmark that ``completions`` (item -> text) has items of.

    Raises:
        ValueError: an item is of none of the benchmarks.
        SandboxError: no isolation works here.
    """
    graded: dict[str, float] = {}
    left = dict(completions)
    for name in names:
        own = {item.task_id for item in load_items(BENCHMARKS[name])} & left.keys()
        found = grade_completions(BENCHMARKS[name], {item: left.pop(item) for item in completions if item in own})
        graded |= {key if name == _FIRST else f"{key}_{name}": value for key, value in found.items()}
    if left:
        raise ValueError(f"items {sorted(left)[:3]} are of none of {list(names)}; write the evaluation texts again")
    return graded


def grade_completions(benchmark: Benchmark, completions: Mapping[str, str]) -> dict[str, float]:
    """Return pass@1 of ``completions`` (item -> text) and the number graded; {} where none could be.

    Raises:
        ValueError: an item is not the benchmark's.
        SandboxError: no isolation works here.
    """
    if not completions:
        return {}
    items = {item.task_id: item for item in load_items(benchmark)}
    unknown = sorted(completions.keys() - items.keys())
    if unknown:
        raise ValueError(
            f"items {unknown[:3]} are not of benchmark {benchmark.name!r}; write the evaluation texts again"
        )
    texts = [cut_at_stop(text, benchmark.stops) for text in completions.values()]
    with open_grader(benchmark) as grader:
        grades = grader.grade([items[name] for name in completions], texts)
    scored = [grade.verdict == "passed" for grade in grades if grade.verdict != "unscored"]
    return {PASS_AT_1: sum(scored) / len(scored), NUM_SCORED: len(scored)} if scored else {}
