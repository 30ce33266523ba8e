"""Published figures of Qwen 2.5 and its neighbors: authors, sources and protocols.

A published figure is somebody else's measurement with somebody else's harness. It carries its source wherever it goes
and is never mixed with this harness's measurements.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from codeft_assets.base import markdown
from codeft_eval.benchmarks.benchmark import CHAT, PROTOCOLS, RAW, Benchmark
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoring.scores import Score

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
"""The models the scoreboard compares with."""
_HEADLINES = {CHAT: "Qwen2.5-Coder-0.5B-Instruct"}
"""Protocol -> the model of the headline, where it is not the first of the base models."""
_CHAT_KINDS = ("instruct", "chat")
Authority = Literal["official", "official-artifact", "secondary", "rerun"]
_AUTHORITIES = get_args(Authority)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScore:
    """One published figure."""

    model: str
    params: str
    benchmark: str
    """As its source calls it."""
    metric: str
    shots: str
    score: float
    """A fraction."""
    kind: str
    authority: Authority
    """Official: the authors; secondary: another paper; rerun: a user's own measurement."""
    source: str
    note: str

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1 or self.authority not in _AUTHORITIES:
            raise ValueError(
                f"reference {self.model!r} on {self.benchmark!r}: score {self.score} must lie in 0..1 and tier "
                f"{self.authority!r} be one of {_AUTHORITIES}; fix the row in reference_scores.csv"
            )


@cache
def reference_scores() -> tuple[ReferenceScore, ...]:
    """Return all published figures, as the package carries them.

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


def headline_model(protocol_name: str) -> str:
    """Return the reference model of the headline: a chat is compared with a chat model, all else with a base model."""
    return _HEADLINES.get(protocol_name, REFERENCE_MODELS[0])


def published_for(benchmark: Benchmark, protocol_name: str) -> list[ReferenceScore]:
    """Return the authors' own figures that may stand beside a score, in the order of ``REFERENCE_MODELS``.

    Figures of chat models were made by chats and stand beside chats only; figures of base models beside no chat. Beside
    a score that does not state its protocol, or whose answers a strategy chose, stands none.
    """
    if benchmark.published is None or protocol_name not in PROTOCOLS:
        return []
    official = {
        row.model: row
        for row in reference_scores()
        if row.benchmark == benchmark.published.benchmark
        and row.authority == "official"
        and (row.kind in _CHAT_KINDS) == (protocol_name == CHAT)
    }
    return [official[model] for model in REFERENCE_MODELS if model in official]


def reference_table() -> str:
    """Return published figures for every benchmark of ours, as Markdown."""
    rows: list[tuple[object, ...]] = []
    for benchmark in BENCHMARKS.values():
        found = [row for name in (RAW, CHAT) for row in published_for(benchmark, name)]
        rows += [(benchmark.title, row.model, f"{100 * row.score:.1f} %", show_shots(row), row.source) for row in found]
        if not found:
            rows.append((benchmark.title, None, "none", None, "Qwen publishes no figure for it"))
    return markdown.table(("benchmark", "model", "published", "protocol", "source"), rows, numeric=("published",))


def show_shots(row: ReferenceScore) -> str:
    """Return the figure's protocol in words."""
    count, _, style = row.shots.partition(" ")
    if not count.isdigit():
        return "shots not stated"
    return f"{count}-shot{', ' + style if style else ''}"


_VERDICTS_OF = {
    "humaneval": "humaneval",
    "humaneval_plus": "humaneval_plus",
    "mbpp_evalplus": "mbpp",
    "mbpp_plus": "mbpp_plus",
    "mbpp_v010": "mbpp",
    "mbpp_plus_v010": "mbpp_plus",
}
"""Our benchmark -> the published verdicts on items of the same names."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Published verdicts that a score may be paired with, or the reason why it may not."""

    passed: Mapping[str, float]
    """Item -> 1 or 0; empty where they may not be paired."""
    reason: str = ""


@cache
def published_verdicts(model: str, benchmark: str) -> dict[str, float]:
    """Return item -> 1 or 0, as the model's authors published it for a benchmark of ours; empty if they did not."""
    published = _VERDICTS_OF.get(benchmark)
    return {
        row["item"]: float(row["passed"])
        for row in _read("reference_verdicts.csv")
        if row["model"] == model and row["benchmark"] == published
    }


def reference_verdicts(model: str, score: Score) -> Verdicts:
    """Return the published verdicts that were made with the very tests of a score.

    What shows that they were is the model's own completions: replayed under our tests they got each published verdict
    again. ``reference_replays.csv`` records such replays with the hash of the tests; tests/benchmarks/replays.py makes
    its lines.
    """
    verdicts = published_verdicts(model, score.benchmark)
    if not verdicts:
        return Verdicts({})
    key = (model, score.benchmark, str(score.version), score.data_sha256)
    replays = [row for row in _read("reference_replays.csv") if tuple(row[name] for name in _TESTS) == key]
    if not replays:
        return Verdicts({}, "its completions were never replayed under these tests, so its verdicts may be of others")
    num_differing = int(replays[0]["num_differing"])
    if num_differing:
        return Verdicts(
            {},
            f"replayed under these tests, its completions got another verdict on {num_differing} of "
            f"{replays[0]['num_items']} items, so its verdicts are of other tests",
        )
    return Verdicts(verdicts)


_TESTS = ("model", "benchmark", "version", "data_sha256")
"""The columns of a replay that name whose completions were replayed under which tests."""


def _parse(row: dict[str, str]) -> ReferenceScore:
    fields = {name: row[name] for name in ("model", "params", "benchmark", "metric", "shots", "kind", "source", "note")}
    return ReferenceScore(**fields, score=float(row["score"]) / 100, authority=row["tier"])  # type: ignore[arg-type]


def _read(name: str) -> list[dict[str, str]]:
    text = files("codeft_eval").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
