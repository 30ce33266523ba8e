"""pass@1 of the completions of a training run: a small score that costs the training nothing."""

from __future__ import annotations

from collections.abc import Mapping

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.generation.decoding import cut_at_stop
from codeft_eval.scoring.graders import open_grader

PASS_AT_1, NUM_SCORED = "probe_pass_at_1", "probe_num_scored"


def grade_completions(benchmark: Benchmark, completions: Mapping[str, str]) -> dict[str, float]:
    """Return pass@1 of ``completions`` (item -> text) and the number graded; {} where none could be.

    Raises:
        ValueError: an item is not the benchmark's.
        SandboxError: no isolation works here.
    """
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
