"""Strategies on a benchmark: each one's score, its control's at equal tokens, and the difference of both.

A strategy's score is written as any other, under the strategy's name as its protocol, with the scores that it is to be
read beside in its folder ``beside``. A difference is a finding only where it exceeds the smallest that the items could
show and the test of all strategies together (Holm) agrees.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from codeft_assets.base import markdown
from codeft_assets.base.files import write_atomically
from codeft_eval.benchmarks.catalogue import load_items
from codeft_eval.generation.checkpoints import checkpoint_hash
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits
from codeft_eval.scoring.graders import Grader, open_grader
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.samples import Completion, Sample, pass_rates, sample_lines
from codeft_eval.scoring.scores import BESIDE, PASS_AT_1, Measurement, Score, make_score, write_score
from codeft_eval.scoring.stored_runs import StoredRuns, read_runs
from codeft_eval.statistics.comparison import Comparison, holm, paired
from codeft_eval.strategies.attempts import Answer, Workbench, Writer, run_once, total_tokens
from codeft_eval.strategies.table import ANY_ATTEMPT, GREEDY, RESAMPLING, find_strategy, resample

LIMITS = Limits(cpu_seconds=2, wall_seconds=10.0)
"""Of a program on the prompt's examples: a right one takes milliseconds, and there are many."""
VERSION = 1
"""Of the strategies' prompts, examples and inputs; a change is a new version."""
FILE = "strategies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One strategy on one benchmark."""

    strategy: str
    score: Score
    unit: str
    """Of costs: tokens, or bytes where no tokenizer counted."""
    num_tokens: int
    """Of the strategy's answers, over all items, in ``unit``."""
    fallbacks: dict[str, int]
    """Reason -> items that the strategy could not choose for."""
    control: str
    control_rate: float | None
    control_tokens: int
    against_control: Comparison | None
    against_first: Comparison | None
    """Against the first attempt alone, which is the greedy one where the first run is greedy."""
    rounds: tuple[float, ...] = ()
    """The pass rate after each round."""


def solve_runs(
    folders: Sequence[Path],
    names: Sequence[str],
    output: Path,
    options: Options,
    *,
    checkpoint: Path | None = None,
    tokenizer: Path | None = None,
) -> list[Result]:
    """Return the results of strategies on finished runs.

    Costs are counted by the tokenizer in a folder, else by the checkpoint's; in bytes where neither is given.

    Raises:
        ValueError: the runs differ, the checkpoint is another than theirs, or a strategy needs it.
    """
    counting = tokenizer or checkpoint
    if counting is None:
        return run_strategies(read_runs(folders), names, output, options)
    from codeft_eval.scoring.checkpoint_writer import open_writer, token_counter

    runs, writer = read_runs(folders, token_counter(counting)), None
    if checkpoint and checkpoint_hash(checkpoint) != runs.first.model_hash:
        raise ValueError(
            f"{str(checkpoint)!r} is not the checkpoint of the runs, {runs.first.model_hash[:16]}; give that one, or "
            "only --tokenizer, to count tokens"
        )
    if checkpoint and any(find_strategy(name).needs_model for name in names):
        writer = open_writer(checkpoint, runs.benchmark.own_protocol, options, output)
    return run_strategies(runs, names, output, options, writer)


def run_strategies(
    runs: StoredRuns, names: Sequence[str], output: Path, options: Options, writer: Writer | None = None
) -> list[Result]:
    """Return the strategies' results, whose scores, table and figures are on disk then.

    Raises:
        ValueError: a name is unknown, or a strategy needs the model and there is none.
        SandboxError: no isolation works here.
    """
    for name in names:
        if find_strategy(name).needs_model and writer is None:
            raise ValueError(f"strategy {name!r} asks the model again; give --checkpoint, the one of the runs")
        if name == GREEDY and runs.first.settings.get("temperature"):
            raise ValueError("strategy 'greedy' answers with the first run, which has samples; give a greedy run first")
    isolation = {"level": options.tier, "allow_unsafe": options.allow_unsafe}
    with Sandbox(limits=LIMITS, **isolation) as sandbox, open_grader(runs.benchmark, **isolation) as grader:
        judge = _Judge(runs, grader, output)
        workbench, results = Workbench(run_once(sandbox.run), writer), list[Result]()
        for name in names:
            results.append(_run(name, judge, workbench))
            options.log(f"{name}: {results[-1].score.metrics[PASS_AT_1].value:.4f}")
    write_atomically(output / f"{FILE}.md", results_table(results) + "\n")
    write_atomically(output / f"{FILE}.json", json.dumps(_plain(runs, results), indent=2) + "\n")
    return results


@dataclass(frozen=True, slots=True)
class _Judge:
    """Grades answers with the benchmark's own tests, after they were chosen, and writes scores."""

    runs: StoredRuns
    grader: Grader
    output: Path

    def samples(self, texts: Sequence[Sequence[str]]) -> list[Sample]:
        """Return completions, one list an item, with their verdicts: the run's own, or new ones for new texts."""
        known = self.runs.grades
        new = {
            (item.task_id, text): item
            for item, own in zip(self.runs.items, texts, strict=True)
            for text in own
            if (item.task_id, text) not in known
        }
        found = self.grader.grade(list(new.values()), [text for _, text in new]) if new else []
        grades = {**known, **dict(zip(new, found, strict=True))}
        return [
            Sample(Completion(item, number, text), grades[item.task_id, text])
            for item, own in zip(self.runs.items, texts, strict=True)
            for number, text in enumerate(own)
        ]

    def write(self, name: str, texts: Sequence[Sequence[str]], *, model: str = "", beside: str = "") -> Measurement:
        """Write the score of a strategy's answers, or one that is read beside it, and return it."""
        first = self.runs.first
        samples = self.samples(texts)
        lines = sample_lines(samples, name)
        score = make_score(
            self.runs.benchmark,
            samples,
            lines,
            model=model or first.model,
            model_hash=first.model_hash,
            settings={"strategy": name, "version": VERSION, "attempts": [own.settings for own in self.runs.scores]},
            protocol_name=name,
            protocol=f"{first.protocol}; {find_strategy(name).words}",
            prompt_end=first.prompt_end,
            tier=first.tier,
            tainted=any(own.tainted for own in self.runs.scores),
            tool_versions=first.tool_versions,
            num_items_total=len(load_items(self.runs.benchmark)),
        )
        score = replace(score, num_samples=len(self.runs.problems[0].attempts))
        folder = self.output / name / BESIDE / beside if beside else self.output / name
        write_score(folder, score, lines, {"strategy": name})
        return Measurement(score, pass_rates(json.loads(line) for line in lines.splitlines()))


def _run(name: str, judge: _Judge, workbench: Workbench) -> Result:
    problems = judge.runs.problems
    answers = find_strategy(name).choose(problems, workbench)
    ours = judge.write(name, [[answer.text] for answer in answers])
    control, spent = _control(name, answers, judge, workbench)
    first = None
    if control:
        texts = [[problem.attempts[0].text] for problem in problems]
        first = judge.write(name, texts, model="the first attempt alone", beside="first")
    return Result(
        strategy=name,
        score=ours.score,
        unit=judge.runs.unit,
        num_tokens=sum(answer.num_tokens for answer in answers),
        fallbacks=dict(Counter(answer.fallback for answer in answers if answer.fallback)),
        control=find_strategy(name).control,
        control_rate=control.score.metrics[PASS_AT_1].value if control else None,
        control_tokens=spent,
        against_control=paired(ours.pass_rates, control.pass_rates) if control else None,
        against_first=paired(ours.pass_rates, first.pass_rates) if first else None,
        rounds=_rounds(answers, judge),
    )


def _control(
    name: str, answers: Sequence[Answer], judge: _Judge, workbench: Workbench
) -> tuple[Measurement | None, int]:
    """Return the score of a strategy's control, and its tokens; None where it has none."""
    control, problems = find_strategy(name).control, judge.runs.problems
    if control == ANY_ATTEMPT:
        texts = [[attempt.text for attempt in problem.attempts] for problem in problems]
        model = "control: any of the same attempts"
        spent = sum(total_tokens(problem.attempts) for problem in problems)
        return judge.write(name, texts, model=model, beside="control"), spent
    if control == RESAMPLING:
        found = resample(problems, answers, workbench)
        model = "control: examples at equal tokens"
        measured = judge.write(name, [[answer.text] for answer in found], model=model, beside="control")
        return measured, sum(answer.num_tokens for answer in found)
    return None, 0


def _rounds(answers: Sequence[Answer], judge: _Judge) -> tuple[float, ...]:
    rates = []
    for texts in zip(*(answer.rounds for answer in answers), strict=True):
        verdicts = [sample.verdict for sample in judge.samples([[text] for text in texts])]
        scored = [verdict == "passed" for verdict in verdicts if verdict != "unscored"]
        rates.append(sum(scored) / len(scored))
    return tuple(rates)


def results_table(results: Sequence[Result]) -> str:
    """Return results as Markdown: each pass rate with its interval and tokens, beside its control's."""
    unit = results[0].unit
    columns = ("strategy", "pass@1 (95 %)", "n", "could not choose", unit, f"control at equal {unit}", f"its {unit}")
    columns += ("difference (95 %)", "detectable", "p (Holm)", "against the first attempt (95 %)", "shown")
    adjusted = _holm(results)
    return markdown.table(columns, [_cells(result, adjusted.get(result.strategy)) for result in results])


def _cells(result: Result, p_value: float | None) -> list[object]:
    rate = result.score.metrics[PASS_AT_1]
    own = f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}–{100 * rate.high:.1f})"
    start = [result.strategy, own, rate.n, sum(result.fallbacks.values()), result.num_tokens]
    if result.against_control is None or result.control_rate is None:
        return [*start, *[None] * 7]
    gap = result.against_control
    control = f"{result.control}: {100 * result.control_rate:.1f} %"
    return [
        *(*start, control, result.control_tokens, _points(gap), f"{100 * gap.detectable:.1f} points"),
        *(p_value, _points(result.against_first) if result.against_first else None, finding(gap, p_value)),
    ]


def finding(gap: Comparison, p_value: float | None) -> str:
    """Return whether data show a difference: only beyond the smallest that they could show, and at 5 % after Holm."""
    if p_value is None or p_value >= 0.05 or abs(gap.difference.value) < gap.detectable:
        return "no difference shown"
    return "better" if gap.difference.value > 0 else "worse"


def _points(gap: Comparison) -> str:
    value, low, high = (100 * bound for bound in (gap.difference.value, gap.difference.low, gap.difference.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _holm(results: Sequence[Result]) -> dict[str, float]:
    known = [(own.strategy, own.against_control.p_value) for own in results if own.against_control]
    values = holm([p_value if p_value is not None else 1.0 for _, p_value in known])
    return dict(zip((name for name, _ in known), values, strict=True))


def _plain(runs: StoredRuns, results: Sequence[Result]) -> dict[str, Any]:
    adjusted = _holm(results)
    rows = []
    for result in results:
        row = asdict(replace(result, score=runs.first)) | {"score": asdict(result.score.metrics[PASS_AT_1])}
        gap, p_value = result.against_control, adjusted.get(result.strategy)
        rows.append(row | {"p_holm": p_value, "finding": finding(gap, p_value) if gap else None})
    attempts = [{"num_samples": own.num_samples, "settings": own.settings} for own in runs.scores]
    return {"benchmark": runs.first.benchmark, "model_hash": runs.first.model_hash, "runs": attempts, "rows": rows}
