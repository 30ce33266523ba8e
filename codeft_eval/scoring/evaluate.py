"""The road of a completion: generate -> grade -> score.

``generate`` sends a benchmark's items through lm-eval to a language model (``lm_eval_tasks`` says what lm-eval owns),
``grade`` has a grader decide about the completions, all at once, and ``score`` makes numbers with intervals of the
verdicts and writes them down. Importing this loads lm-eval.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from codeft_eval.benchmarks.benchmark import Benchmark, Item
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.generation.language_models import PROMPT_TOO_LONG
from codeft_eval.sandbox.isolation.levels import UNSAFE
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.graders import Grader
from codeft_eval.scoring.lm_eval_tasks import ItemTask, responses, run_lm_eval
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.samples import Completion, Sample, sample_lines
from codeft_eval.scoring.scores import RunIdentity, Score, make_score, write_score

_LIBRARIES = ("lm-eval", "torch", "transformers", "datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalContext:
    """One run: a benchmark, the identity of model and protocol, the grader, and where the results go."""

    benchmark: Benchmark
    items: Sequence[Item]
    identity: RunIdentity
    grader: Grader
    timer: PhaseTimer
    output: Path
    log: Callable[[str], None]
    num_samples: int = 1
    """Completions an item."""


def evaluate(model: LM, context: EvalContext) -> Score:
    """Evaluate a model on a benchmark and return the score, which is on disk then."""
    completions = generate(model, context.items, context.num_samples)
    samples = grade(completions, context.grader, context.timer)
    return score(samples, context)


def generate(model: LM, items: Sequence[Item], num_samples: int) -> list[Completion]:
    """Return the model's completions, item by item, with the log-likelihood of each item's canonical solution."""
    solved = [item for item in items if item.solution]
    completing = ItemTask("generate_until", items, num_samples)
    solving = ItemTask("loglikelihood", solved)
    results = run_lm_eval(model, [completing, solving] if solved else [completing])
    found = responses(results, solving) if solved else []
    log_likelihoods = {
        item.task_id: None if math.isnan(value) else value
        for item, ((value, _is_greedy),) in zip(solved, found, strict=True)
    }
    return [
        Completion(item, number, None if text == PROMPT_TOO_LONG else text, log_likelihoods.get(item.task_id))
        for item, texts in zip(items, responses(results, completing), strict=True)
        for number, text in enumerate(texts)
    ]


def grade(completions: Sequence[Completion], grader: Grader, timer: PhaseTimer) -> list[Sample]:
    """Return the completions with their verdicts; one that the model's context had no room for has none."""
    gradable = [(completion.item, completion.text) for completion in completions if completion.text is not None]
    with timer.phase("awaiting_verdicts"):
        grades = iter(grader.grade([item for item, _ in gradable], [text for _, text in gradable]))
    return [
        Sample(completion, _prompt_too_long(completion.item) if completion.text is None else next(grades))
        for completion in completions
    ]


def score(samples: Sequence[Sample], context: EvalContext) -> Score:
    """Return the score of the samples, written with them and with the facts of the run into the output folder."""
    benchmark, isolation = context.benchmark, context.grader.isolation
    lines = sample_lines(samples, context.identity.protocol_name)
    result = make_score(
        benchmark,
        samples,
        lines,
        tier=isolation,
        tainted=isolation == UNSAFE,
        tool_versions=dict(context.grader.tool_versions),
        num_items_total=len(load_items(benchmark)),
        **asdict(context.identity),
    )
    write_score(context.output, result, lines, _run_facts(samples, context))
    context.log(f"{result.title}: {result.num_passed} of {result.num_scored} passed, {result.num_unscored} unscored")
    return result


def _prompt_too_long(item: Item) -> Grade:
    detail = "the prompt leaves no room for a completion in the model's context"
    return Grade(key=item.task_id, verdict="unscored", reason="prompt_too_long", detail=detail, isolation="none")


def _run_facts(samples: Sequence[Sample], context: EvalContext) -> dict[str, Any]:
    limits = context.grader.limits
    return {
        "seconds": context.timer.seconds([sample.grade for sample in samples]),
        "limits": asdict(limits) if limits else None,
        "tiers": context.grader.reasons,
        "versions": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
