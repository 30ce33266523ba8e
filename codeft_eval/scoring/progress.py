"""The progress of a training run as text: the share of programs that passed at its steps, and one of its programs.

The completions are those that the run wrote beside its metrics; they are graded as all others are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.scoring.in_training import NUM_SCORED, PASS_AT_1, grade_completions, read_completions
from codeft_eval.scoring.samples import read_samples

_BAR_CHARS = 40
Point = tuple[int, float, int]
"""Step, share that passed, number of programs."""


def passing_points(metrics: Path, benchmark: Benchmark) -> list[Point]:
    """Return a point for each step at which a run completed items of ``benchmark``."""
    own = {item.task_id for item in load_items(benchmark)}
    points = []
    for step, completions in read_completions(metrics):
        graded = grade_completions(benchmark, {item: text for item, text in completions.items() if item in own})
        if graded:
            points.append((step, graded[PASS_AT_1], int(graded[NUM_SCORED])))
    return points


def curve_text(points: Sequence[Point]) -> str:
    """Return the curve as lines of text; a sentence where there is none."""
    if not points:
        return "No step was scored while the model trained: the run was too short to afford it."
    width = len(str(points[-1][0]))
    lines = [
        f"step {step:>{width}}  {'█' * round(share * _BAR_CHARS):<{_BAR_CHARS}}  {share:4.0%} of {number}"
        for step, share, number in points
    ]
    return "\n".join(lines)


def program_text(samples: Sequence[Mapping[str, Any]]) -> str:
    """Return one program of the model and its verdict: the longest that passes, or else one that fails."""
    passed = [sample for sample in samples if sample["verdict"] == "passed"]
    if not samples:
        return "No program was scored."
    shown = max(passed or samples, key=lambda sample: (len(sample["completion"] or ""), sample["task_id"]))
    verdict = "passes all its tests" if passed else f"fails: {shown['reason']}"
    return f"{shown['task_id']} {verdict}:\n\n{shown['prompt']}{(shown['completion'] or '').rstrip()}"


def progress_text(metrics: Path, scores: Path, benchmark: Benchmark) -> str:
    """Return the curve of a run and one program of its last checkpoint.

    Args:
        metrics: The run's ``metrics.jsonl``.
        scores: The folder of the last checkpoint's scores on ``benchmark``.
        benchmark: The benchmark of both.
    """
    samples = list(read_samples(scores))
    num_passed = sum(sample["verdict"] == "passed" for sample in samples)
    return (
        f"{benchmark.title}: the shortest items while the model trained\n\n"
        f"{curve_text(passing_points(metrics, benchmark))}\n\n"
        f"The last checkpoint passes {num_passed} of {len(samples)}. {program_text(samples)}\n"
    )
