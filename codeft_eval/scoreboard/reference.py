"""Published figures of Qwen 2.5 and its neighbors: whose they are, where they stand, and under which protocol.

A published figure is somebody else's measurement with somebody else's harness. It carries its source wherever it goes
and is never mixed with what this harness measured.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from codeft_eval.benchmarks.catalogue import BENCHMARKS, Benchmark

REFERENCE_MODELS = (
    "Qwen2.5-Coder-0.5B",
    "Qwen2.5-0.5B",
    "Qwen2.5-Coder-1.5B",
    "Qwen2.5-1.5B",
    "Qwen2.5-Coder-0.5B-Instruct",
    "Qwen2.5-0.5B-Instruct",
    "Qwen2.5-Coder-1.5B-Instruct",
    "Qwen2.5-1.5B-Instruct",
)
"""The models the scoreboard compares with; the first is the headline."""
Tier = Literal["official", "official-artifact", "secondary", "rerun"]
_TIERS = ("official", "official-artifact", "secondary", "rerun")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScore:
    """One published figure."""

    model: str
    params: str
    benchmark: str
    "as its source calls it"
    metric: str
    shots: str
    score: float
    "a fraction"
    kind: str
    tier: Tier
    "official: the authors; secondary: another paper; rerun: a user's own measurement"
    source: str
    note: str

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1 or self.tier not in _TIERS:
            raise ValueError(
                f"reference {self.model!r} on {self.benchmark!r}: score {self.score} lies in 0..1 and tier "
                f"{self.tier!r} is one of {_TIERS}; fix the row in reference_scores.csv"
            )


@cache
def reference_scores() -> tuple[ReferenceScore, ...]:
    """All published figures, as the package carries them.

    Raises:
        ValueError: a figure is out of range, or one source gives two for the same thing.
    """
    rows = [_parse(row) for row in _read("reference_scores.csv")]
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        key = (row.model, row.benchmark, row.metric, row.shots, row.source)
        if key in seen:
            raise ValueError(f"reference_scores.csv has two rows for {key}; keep one")
        seen.add(key)
    return tuple(rows)


def published_for(benchmark: Benchmark) -> list[ReferenceScore]:
    """The authors' own figures that may stand beside the benchmark, in the order of `REFERENCE_MODELS`."""
    if benchmark.published is None:
        return []
    official = {
        row.model: row
        for row in reference_scores()
        if row.benchmark == benchmark.published.benchmark and row.tier == "official"
    }
    return [official[model] for model in REFERENCE_MODELS if model in official]


def reference_table() -> str:
    """Published figures for every benchmark of ours, as Markdown."""
    lines = ["| benchmark | model | published | protocol | source |", "|---|---|---:|---|---|"]
    for benchmark in BENCHMARKS.values():
        rows = published_for(benchmark)
        lines += [
            f"| {benchmark.title} | {row.model} | {100 * row.score:.1f} % | {shots(row)} | {row.source} |"
            for row in rows
        ]
        if not rows:
            lines.append(f"| {benchmark.title} | – | none | – | Qwen publishes no figure for it |")
    return "\n".join(lines)


def shots(row: ReferenceScore) -> str:
    """The figure's protocol in words."""
    count, _, style = row.shots.partition(" ")
    if not count.isdigit():
        return "shots not stated"
    return f"{count}-shot{', ' + style if style else ''}"


_VERDICTS_OF = {
    "humaneval": "humaneval",
    "humaneval_plus": "humaneval_plus",
    "mbpp_evalplus": "mbpp",
    "mbpp_plus": "mbpp_plus",
}
"""Our benchmark -> the published verdicts on the same items with the same tests."""


@cache
def reference_verdicts(model: str, benchmark: str) -> dict[str, float]:
    """Item -> 1 or 0, as the model's authors published it for a benchmark of ours; empty when they did not."""
    published = _VERDICTS_OF.get(benchmark)
    return {
        row["item"]: float(row["passed"])
        for row in _read("reference_verdicts.csv")
        if row["model"] == model and row["benchmark"] == published
    }


def _parse(row: dict[str, str]) -> ReferenceScore:
    fields = {name: row[name] for name in ("model", "params", "benchmark", "metric", "shots", "kind", "source", "note")}
    return ReferenceScore(**fields, score=float(row["score"]) / 100, tier=row["tier"])  # type: ignore[arg-type]


def _read(name: str) -> list[dict[str, str]]:
    text = files("codeft_eval").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
