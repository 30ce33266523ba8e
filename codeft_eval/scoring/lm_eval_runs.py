"""A run of a task of lm-eval: our model answers its requests, its metrics grade them, and the score is like any other.

The first metric that says right or wrong of each item gives the verdicts; the others stand beside it. Importing this
loads lm-eval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from codeft_eval.benchmarks.benchmark import Benchmark, Item
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.benchmarks.lm_eval_data import load_task
from codeft_eval.generation.language_models import PROMPT_TOO_LONG
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.lm_eval_tasks import run_lm_eval
from codeft_eval.scoring.phases import PhaseTimer
from codeft_eval.scoring.samples import Completion, Sample, sample_lines
from codeft_eval.scoring.scores import RunIdentity, Score, make_score, write_score
from codeft_eval.statistics.intervals import Estimate, mean_of_items, proportion

ISOLATION = "none: lm-eval's metrics compare answers, no program runs"


def with_task_limits(benchmark: Benchmark) -> Benchmark:
    """Return the benchmark with the stops and the length of completions that its task asks for."""
    if not benchmark.lm_eval_task:
        return benchmark
    options = load_task(benchmark.lm_eval_task).config.generation_kwargs or {}
    stops = options.get("until") or []
    length = options.get("max_gen_toks", benchmark.max_new_tokens)
    return replace(benchmark, stops=(stops,) if isinstance(stops, str) else tuple(stops), max_new_tokens=length)


def score_task(
    model: LM, benchmark: Benchmark, items: Sequence[Item], identity: RunIdentity, output: Path, timer: PhaseTimer
) -> Score:
    """Return the score of a model on a task of lm-eval, which is on disk then.

    Raises:
        ValueError: none of the task's metrics says right or wrong of an item.
    """
    task = load_task(benchmark.lm_eval_task)
    answering = _AnsweringLM(model, items)
    results = run_lm_eval(answering, [task], limit=len(items))
    rows = _first_filter(results["samples"][task.task_name])
    primary = _verdict_metric(benchmark.lm_eval_task, rows)
    samples = [_sample(items[row["doc_id"]], row, primary, answering.unanswered) for row in rows]
    lines = sample_lines(samples)
    scored = [row for row in rows if row["doc_id"] not in answering.unanswered]
    score = make_score(
        benchmark,
        samples,
        lines,
        tier=ISOLATION,
        tainted=False,
        tool_versions={},
        num_items_total=len(load_items(benchmark)),
        **asdict(identity),
    )
    score = replace(score, metrics=score.metrics | _metrics(task, scored))
    facts = {
        "seconds": timer.seconds([sample.grade for sample in samples]),
        "versions": {name: version(name) for name in ("lm-eval", "torch", "transformers", "datasets")},
        "verdicts_of": primary,
    }
    write_score(output, score, lines, facts)
    return score


class _AnsweringLM(LM):
    """Hands a task's requests to a model that knows an answer by the item and the request's number."""

    def __init__(self, model: LM, items: Sequence[Item]) -> None:
        super().__init__()
        self._model, self._items = model, items
        self.unanswered = set[int]()
        """Documents that the model's context has no room for."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return log-likelihoods, and whether greedy decoding gives the continuation."""
        found = self._model.loglikelihood([self._named(request) for request in requests])
        self._note(requests, [math.isnan(value) for value, _ in found])
        return found

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return completions."""
        found = self._model.generate_until([self._named(request) for request in requests])
        self._note(requests, [text == PROMPT_TOO_LONG for text in found])
        return ["" if text == PROMPT_TOO_LONG else text for text in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Refuse: a task that needs them is refused before."""
        raise NotImplementedError("tasks with rolling likelihoods are refused")

    def _named(self, request: Instance) -> Instance:
        item: Any = replace(self._items[request.doc_id or 0], answer="lm-eval's metrics know it")
        return Instance(request.request_type, item, request.arguments, request.idx)

    def _note(self, requests: Sequence[Instance], are_too_long: Sequence[bool]) -> None:
        pairs = zip(requests, are_too_long, strict=True)
        self.unanswered |= {request.doc_id or 0 for request, is_too_long in pairs if is_too_long}


def _first_filter(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for row in rows if row["filter"] == rows[0]["filter"]), key=lambda row: row["doc_id"])


def _verdict_metric(task: str, rows: Sequence[Mapping[str, Any]]) -> str:
    names = rows[0]["metrics"]
    found = [name for name in names if all(_is_verdict(row[name]) for row in rows)]
    if not found:
        raise ValueError(
            f"lm-eval's task {task!r} has the metrics {sorted(names)}, and none is 0 or 1 for each item; name a task "
            "whose answers are right or wrong"
        )
    return found[0]


def _is_verdict(value: Any) -> bool:
    return isinstance(value, (int, float)) and value in (0, 1)


def _sample(item: Item, row: Mapping[str, Any], primary: str, unanswered: Collection[int]) -> Sample:
    if row["doc_id"] in unanswered:
        detail = "the request leaves no room in the model's context"
        grade = Grade(
            key=item.task_id, verdict="unscored", reason="prompt_too_long", detail=detail, isolation=ISOLATION
        )
        return Sample(Completion(item, 0, None), grade)
    detail = ", ".join(f"{name} {row[name]}" for name in row["metrics"])
    passed = row[primary] == 1
    grade = Grade(
        key=item.task_id,
        verdict="passed" if passed else "failed",
        reason="passed" if passed else "wrong_answer",
        detail=detail,
        isolation=ISOLATION,
    )
    return Sample(Completion(item, 0, _answer(row)), grade)


def _answer(row: Mapping[str, Any]) -> str:
    """Return the completion, or the continuation that the model finds likeliest."""
    first = row["filtered_resps"][0]
    if not isinstance(first, (tuple, list)) or not isinstance(first[0], float):
        return str(first)
    likeliest = max(range(len(row["filtered_resps"])), key=lambda number: row["filtered_resps"][number][0])
    return str(row["arguments"][likeliest][1])


def _metrics(task: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Return the metrics that are means over items, each equal to lm-eval's own number where all items are scored."""
    if not rows:
        return {}
    means = [name for name, aggregate in task.aggregation().items() if aggregate.__name__ == "mean"]
    values = {name: [row[name] for row in rows] for name in means if name in rows[0]["metrics"]}
    return {
        name: _mean(numbers)
        for name, numbers in values.items()
        if all(isinstance(number, (int, float)) and 0 <= number <= 1 for number in numbers)
    }


def _mean(values: Sequence[float]) -> Estimate:
    if all(map(_is_verdict, values)):
        return proportion(round(sum(values)), len(values))
    return replace(mean_of_items(list(values)), value=sum(values) / len(values))
