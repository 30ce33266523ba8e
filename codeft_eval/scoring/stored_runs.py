"""Finished runs as attempts that a strategy chooses among: their completions, their costs, and their verdicts.

The verdicts are kept apart from the attempts: a strategy sees the attempts only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeft_eval.benchmarks.benchmark import BASE_PROTOCOLS, CONTINUATION, Benchmark, Item
from codeft_eval.benchmarks.catalogue import data_sha256, get_benchmark, load_items
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.prompting import without_end
from codeft_eval.scoring.samples import SAMPLES_FILE, grade_of, read_samples
from codeft_eval.scoring.scores import AS_WRITTEN, Score, read_score
from codeft_eval.strategies.attempts import Attempt, Problem, without_tests

_ALIKE = ("benchmark", "version", "protocol_name", "data_sha256", "model_hash", "prompt_end", "num_items")


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """Runs of one model on one benchmark."""

    scores: tuple[Score, ...]
    items: tuple[Item, ...]
    """With their tests."""
    problems: tuple[Problem, ...]
    """Without them."""
    grades: Mapping[tuple[str, str], Grade]
    """(task id, completion) -> its grade."""
    unit: str
    """Of the attempts' costs: tokens, or bytes."""

    @property
    def first(self) -> Score:
        """The first run's score, whose identity all share."""
        return self.scores[0]

    @property
    def benchmark(self) -> Benchmark:
        """The benchmark that was run."""
        return get_benchmark(self.first.benchmark)


def read_runs(folders: Sequence[Path], num_tokens: Callable[[str], int] | None = None) -> StoredRuns:
    """Return finished runs as problems, each with the attempts of all runs in the order of ``folders``.

    Args:
        folders: Folders of scores, as ``run`` writes them.
        num_tokens: Counts a text's tokens; None: costs are in bytes.

    Raises:
        ValueError: a run is not finished, was changed, is of other data, or differs from the first in model or asking;
            or its completions do not continue Python prompts.
    """
    scores = tuple(map(read_score, folders))
    first, benchmark = scores[0], get_benchmark(scores[0].benchmark)
    for folder, score in zip(folders, scores, strict=True):
        _check(folder, score, first)
    items = load_items(benchmark)[: first.num_items]
    if first.data_sha256 != data_sha256(benchmark) or any(_is_other(item) for item in items):
        raise ValueError(
            f"{str(folders[0])!r}: strategies need completions of Python prompts, made with the data that is here; "
            f"run the model on {first.benchmark!r} again, or on another benchmark"
        )
    if first.prompt_end != AS_WRITTEN:
        items = [without_end(item) for item in items]
    count = num_tokens or _num_bytes
    rows = [row for folder in folders for row in read_samples(folder)]
    attempts: dict[str, list[Attempt]] = {item.task_id: [] for item in items}
    for row in rows:
        attempts[row["task_id"]].append(Attempt(row["completion"], count(row["prompt"]) + count(row["completion"])))
    return StoredRuns(
        scores=scores,
        items=tuple(items),
        problems=tuple(Problem(without_tests(item), tuple(attempts[item.task_id])) for item in items),
        grades={(row["task_id"], row["completion"]): grade_of(row) for row in rows},
        unit="tokens" if num_tokens else "bytes",
    )


def _num_bytes(text: str) -> int:
    return len(text.encode())


def _check(folder: Path, score: Score, first: Score) -> None:
    other = [name for name in _ALIKE if getattr(score, name) != getattr(first, name)]
    if other:
        raise ValueError(
            f"{str(folder)!r} differs from the first run in {', '.join(other)}; give runs of one model on one benchmark"
        )
    if score.protocol_name not in BASE_PROTOCOLS:
        raise ValueError(
            f"{str(folder)!r} is of protocol {score.protocol_name!r}; strategies read completions that continue the "
            "benchmark's own prompts; run the model without --protocol"
        )
    if hashlib.sha256((folder / SAMPLES_FILE).read_bytes()).hexdigest() != score.samples_sha256:
        raise ValueError(f"{str(folder / SAMPLES_FILE)!r} was changed after its score was written; run it again")


def _is_other(item: Item) -> bool:
    return item.language != "python" or item.form != CONTINUATION or not item.test or bool(item.source_suffix)
