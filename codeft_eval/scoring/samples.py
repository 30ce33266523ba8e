"""Samples: completions with their verdicts, and samples.jsonl, the file that holds them.

An item may have several samples. They come item by item, so that an item's samples stand together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base import markdown
from codeft_eval.benchmarks.benchmark import RAW, Item
from codeft_eval.sandbox.programs import Grade

SAMPLES_FILE = "samples.jsonl"
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion of an item."""

    item: Item
    number: int
    """0 for the item's first."""
    text: str | None
    """None where the prompt leaves no room in the model's context."""
    log_likelihood: float | None = None
    """Of the canonical solution; None where there is none, it does not fit, or the model gives none."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion and its verdict."""

    completion: Completion
    grade: Grade

    @property
    def item(self) -> Item:
        """The item that was completed."""
        return self.completion.item

    @property
    def verdict(self) -> str:
        """``passed``, ``failed``, or ``unscored`` where no verdict was possible."""
        return self.grade.verdict


def sample_lines(samples: Iterable[Sample], protocol_name: str = RAW) -> bytes:
    """Return one JSON line a sample: prompt, completion, verdict, the program's output and its isolation level."""
    plain = (_plain(sample, protocol_name) for sample in samples)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in plain).encode()


def read_samples(folder: Path) -> Iterable[dict[str, Any]]:
    """Yield the samples beside a score."""
    with (folder / SAMPLES_FILE).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def grade_of(row: Mapping[str, Any]) -> Grade:
    """Return the verdict in a line of the file."""
    names = ("verdict", "reason", "detail", "stderr")
    return Grade(key=row["task_id"], isolation=row["tier"], **{name: row[name] for name in names})


def pass_rates(samples: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return item -> the share of its samples that passed; an item without a verdict is missing, never 0."""
    counts: dict[str, list[bool]] = {}
    for sample in samples:
        if sample["verdict"] != "unscored":
            counts.setdefault(sample["task_id"], []).append(sample["verdict"] == "passed")
    return {item: sum(passed) / len(passed) for item, passed in counts.items()}


def solution_bits(samples: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, int]]:
    """Return item -> (log-likelihood of the canonical solution, its bytes), where the model gave one."""
    first = (sample for sample in samples if sample["sample"] == 0 and sample["solution_log_likelihood"] is not None)
    return {sample["task_id"]: (sample["solution_log_likelihood"], sample["solution_bytes"]) for sample in first}


def samples_table(samples: Sequence[Mapping[str, Any]], limit: int = 10) -> str:
    """Return a few samples as Markdown, the passed ones first."""
    shown = sorted(samples, key=lambda sample: sample["verdict"] != "passed")[:limit]
    rows = [(sample["task_id"], _outcome(sample), _code(sample)) for sample in shown]
    return markdown.table(("item", "verdict", "completion"), rows)


def _outcome(sample: Mapping[str, Any]) -> str:
    verdict, reason = sample["verdict"], sample["reason"]
    return f"{verdict}: {reason}" if reason != verdict else verdict


def _code(sample: Mapping[str, Any]) -> markdown.Markup:
    text = sample["completion"][:160].replace("`", "ˋ").replace("\n", " ⏎ ")
    return markdown.Markup(f"`{text or ' '}`")


def _plain(sample: Sample, protocol_name: str) -> dict[str, Any]:
    grade = sample.grade
    return {
        "task_id": sample.item.task_id,
        "sample": sample.completion.number,
        "protocol_name": protocol_name,
        "prompt": sample.item.prompt,
        "completion": _encodable(sample.completion.text or ""),
        "verdict": grade.verdict,
        "reason": grade.reason,
        "detail": _encodable(_without_addresses(grade.detail)),
        "stderr": _encodable(_without_addresses(grade.stderr)),
        "tier": grade.isolation,
        "solution_log_likelihood": sample.completion.log_likelihood,
        "solution_bytes": len(sample.item.loglikelihood_text.encode()),
    }


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("0x…", text)


def _encodable(text: str) -> str:
    """Return ``text`` without lone surrogates: half a character in a stored completion must not end a run."""
    return text.encode("utf-8", "backslashreplace").decode()
