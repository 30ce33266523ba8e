"""Two benchmarks while a model trains: the training process writes completions, this one grades them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from codeft_eval.sandbox.provider import SandboxError
from codeft_eval.scoring.in_training import grade_by_benchmark, pass_at_1_key, read_completions
from codeft_training.measure.samples import COMPLETIONS

SCORED_IN_TRAINING = ("embedded", "composed_basic")
"""Benchmarks whose shortest items a model continues while it trains."""


class InTrainingScores:
    """Scores the completions that a run writes, each step once."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._log = context.log
        self._by_step: dict[int, dict[str, float]] = {}

    def score_entry(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``entry`` with its completions replaced by the share of them that passes."""
        if COMPLETIONS not in entry:
            return entry
        others = {name: value for name, value in entry.items() if name != COMPLETIONS}
        return others | self._score(entry["step"], entry[COMPLETIONS])

    def points(self, metrics: Path) -> dict[str, list[tuple[int, float]]]:
        """Return step and share that passes by benchmark, from a run's metrics, those of its earlier processes too."""
        points: dict[str, list[tuple[int, float]]] = {}
        for step, completions in read_completions(metrics):
            scored = self._score(step, completions)
            for name in SCORED_IN_TRAINING:
                if pass_at_1_key(name) in scored:
                    points.setdefault(name, []).append((step, scored[pass_at_1_key(name)]))
        return points

    def _score(self, step: int, completions: Mapping[str, str]) -> dict[str, float]:
        if step not in self._by_step:
            try:
                self._by_step[step] = grade_by_benchmark(SCORED_IN_TRAINING, completions)
            except SandboxError as error:  # a lost score must not end the training
                self._by_step[step] = {}
                self._log.warning(f"step {step}: completions are not graded: {error}")
        return self._by_step[step]
