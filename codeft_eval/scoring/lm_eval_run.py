"""Runs lm-eval on one benchmark, from our task files only: no built-in task is loaded and nothing is downloaded."""

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from codeft_eval.benchmarks.items import Item
from codeft_eval.generation.models import PROMPT_TOO_LONG
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.lm_eval_tasks import Scoring, scoring

if TYPE_CHECKING:
    from lm_eval.api.model import LM

logger = logging.getLogger(__name__)

COMPLETION, BITS_PER_BYTE = "codeft_completion", "codeft_bits_per_byte"


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model did: one entry for each of `items`, which names an item as often as it has completions."""

    completions: list[str]
    outcomes: list[Grade]
    log_likelihoods: list[float | None]
    "of the canonical solutions; None where there is none or it does not fit, empty when the model gives none"
    items: list[Item] = field(default_factory=list)


def ask(model: "LM", active: Scoring, tasks: Sequence[str]) -> Answers:
    """Prompts the model through lm-eval and has its completions judged."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    judged = replace(active, judge=lambda items, texts: _judge_those_that_fit(active, items, texts))
    with scoring(judged):
        results = simple_evaluate(
            model=model,
            tasks=[task for task in tasks if task != BITS_PER_BYTE or any(item.solution for item in active.items)],
            task_manager=TaskManager(include_path=str(files("codeft_eval").joinpath("tasks")), include_defaults=False),
            bootstrap_iters=0,
            log_samples=True,
            confirm_run_unsafe_code=True,
        )
    assert results is not None
    return _answers(active, dict(results)["samples"])


def _answers(active: Scoring, samples: Any) -> Answers:
    found = {(sample["doc"]["task_id"], sample["doc"]["sample"]): sample for sample in samples[COMPLETION]}
    weights = {sample["doc"]["task_id"]: sample["resps"][0][0][0] for sample in samples.get(BITS_PER_BYTE, [])}
    ordered = [found[item.task_id, number] for item in active.items for number in range(active.num_samples)]
    texts = [sample["resps"][0][0] for sample in ordered]
    items = active.repeated_items
    return Answers(
        items=items,
        completions=["" if text == PROMPT_TOO_LONG else text for text in texts],
        outcomes=[Grade(**json.loads(sample["filtered_resps"][0])) for sample in ordered],
        log_likelihoods=[_number(weights.get(item.task_id, math.nan)) for item in items if weights],
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _judge_those_that_fit(active: Scoring, items: Sequence[Item], texts: Sequence[str]) -> list[Grade]:
    """An item whose prompt does not fit the context has no completion, and so no verdict."""
    fits = [index for index, text in enumerate(texts) if text != PROMPT_TOO_LONG]
    outcomes = dict(zip(fits, active.judge([items[i] for i in fits], [texts[i] for i in fits]), strict=True))
    return [outcomes.get(index) or _too_long(item) for index, item in enumerate(items)]


def _too_long(item: Item) -> Grade:
    detail = "the prompt leaves no room for a completion in the model's context"
    return Grade(key=item.task_id, verdict="unscored", reason="prompt_too_long", detail=detail, isolation="none")
