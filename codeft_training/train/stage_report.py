"""The stages as they ran: steps, tokens, rates and the sources that were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from codeft_training.data.row_groups import RowGroup, group_shares, read_groups
from codeft_training.data.row_order import StageOrder
from codeft_training.data.variation import num_procedural_steps
from codeft_training.recipe import PretrainRecipe, Recipe
from codeft_training.run_spec import TrainingRun


def stage_report(run: TrainingRun, metrics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a record of each stage that had a step, by the entries of a finished run; none without stages.

    ``passes`` counts how often a source's rows have been read from the beginning of the run to the end of the stage.
    """
    begins = {entry["stage"]: entry["step"] - 1 for entry in metrics if "stage" in entry}
    last_step = max((entry["step"] for entry in metrics), default=0)
    stages = [stage for stage in run.recipe.schedule.stages if stage.name in begins]
    ends = [*(begins[stage.name] for stage in stages), last_step][1:]
    groups = read_groups(run.packed.manifest()["splits"]["train"])
    lengths = [end - begins[stage.name] for stage, end in zip(stages, ends, strict=True)]
    data, peak = run.recipe.data, run.recipe.optimization.learning_rate
    order = StageOrder([group.rows for group in groups], [group_shares(stage, groups) for stage in stages], data.seed)
    procedural = [
        max(min(_procedural_steps(run.recipe) - begins[stage.name], length), 0)
        for stage, length in zip(stages, lengths, strict=True)
    ]
    passed, unread = (order.counts([num * data.rows_per_step for num in steps]) for steps in (lengths, procedural))
    counts = [all_rows - rows for all_rows, rows in zip(passed, unread, strict=True)]
    return [
        asdict(stage)
        | {"start_rate": stage.start_rate * peak, "end_rate": stage.end_rate * peak}
        | {"num_steps": length, "num_tokens": length * data.tokens_per_step}
        | {"bits_per_byte": _last_bits(metrics, end)}
        | _read(groups, counts[: number + 1])
        for number, (stage, length, end) in enumerate(zip(stages, lengths, ends, strict=True))
    ]


def _procedural_steps(recipe: Recipe) -> int:
    """Return the number of first steps that read no row."""
    fraction = recipe.repetition.procedural_fraction if isinstance(recipe, PretrainRecipe) else 0.0
    return num_procedural_steps(fraction, recipe.schedule.max_steps)


def _last_bits(metrics: Sequence[dict[str, Any]], end: int) -> float | None:
    """Return the last measurement of held-out documents up to a step; None without any."""
    found = [entry["bits_per_byte"] for entry in metrics if "bits_per_byte" in entry and entry["step"] <= end]
    return found[-1] if found else None


def _read(groups: Sequence[RowGroup], counts: Sequence[Any]) -> dict[str, Any]:
    """Return the tokens of each source in the last of some stages, and its passes in all of them."""
    tokens, rows, read = Counter[str](), Counter[str](), Counter[str]()
    for group, last, total in zip(groups, counts[-1].tolist(), np.sum(counts, axis=0).tolist(), strict=True):
        source = group.columns.get("source", "all sources")
        tokens[source] += round(last * group.num_tokens / len(group.rows))
        rows[source] += len(group.rows)
        read[source] += total
    chosen = sorted(source for source, num in tokens.items() if num)
    return {
        "tokens_by_source": {source: tokens[source] for source in chosen},
        "passes": {source: round(read[source] / rows[source], 3) for source in chosen},
    }
