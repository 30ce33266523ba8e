"""The embedded benchmark while a model trains: its process writes completions, this one grades them meanwhile."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.sandbox.provider import SandboxError
from codeft_eval.scoring.in_training import PASS_AT_1, grade_completions
from codeft_training.measure.samples import COMPLETIONS


class ProbeScores:
    """Grades the completions that a run writes, each step once."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._log = context.log
        self._by_step: dict[int, dict[str, float]] = {}

    def tell(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``values`` with the share of completions that pass in place of these."""
        if COMPLETIONS not in values:
            return values
        shown = {name: value for name, value in values.items() if name != COMPLETIONS}
        return shown | self._judged(values["step"], values[COMPLETIONS])

    def points(self, metrics: Path) -> list[tuple[int, float]]:
        """Return step and share of the completions in a run's metrics, those of its earlier processes too."""
        entries = [json.loads(line) for line in metrics.read_text().splitlines()]
        told = [self.tell(entry) for entry in entries if COMPLETIONS in entry]
        return [(values["step"], values[PASS_AT_1]) for values in told if PASS_AT_1 in values]

    def _judged(self, step: int, completions: Mapping[str, str]) -> dict[str, float]:
        if step not in self._by_step:
            try:
                self._by_step[step] = grade_completions(BENCHMARKS["embedded"], completions)
            except SandboxError as error:  # a score while training is not worth the training
                self._by_step[step] = {}
                self._log.warning(f"step {step}: completions are not judged: {error}")
        return self._by_step[step]
