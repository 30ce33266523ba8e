"""The embedded benchmark while a model trains: the training process writes completions, this one grades them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.sandbox.provider import SandboxError
from codeft_eval.scoring.in_training import PASS_AT_1, grade_completions
from codeft_training.measure.samples import COMPLETIONS


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

    def points(self, metrics: Path) -> list[tuple[int, float]]:
        """Return step and share that passes from a run's metrics, those of its earlier processes too."""
        entries = [json.loads(line) for line in metrics.read_text().splitlines()]
        scored = [self.score_entry(entry) for entry in entries if COMPLETIONS in entry]
        return [(entry["step"], entry[PASS_AT_1]) for entry in scored if PASS_AT_1 in entry]

    def _score(self, step: int, completions: Mapping[str, str]) -> dict[str, float]:
        if step not in self._by_step:
            try:
                self._by_step[step] = grade_completions(BENCHMARKS["embedded"], completions)
            except SandboxError as error:  # a lost score must not end the training
                self._by_step[step] = {}
                self._log.warning(f"step {step}: completions are not graded: {error}")
        return self._by_step[step]
