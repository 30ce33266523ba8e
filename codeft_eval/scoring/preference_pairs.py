"""Preference pairs: of an item's judged completions a right one and a wrong one of nearly the same length.

Preference training learns length where length goes with the verdict (arXiv 2403.19159). So the two of a pair are of
similar length, and over all pairs the right ones are on average neither longer nor shorter than the wrong ones.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

from codeft_assets.base.files import file_hash, write_atomically
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.benchmarks.own_benchmarks import OWN_VARIABLE
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import read_score

PAIRS_FILE, FACTS_FILE = "pairs.jsonl", "pairs.json"
PAIRS_PER_ITEM = 4
MAX_LENGTH_RATIO = 1.5
"""Of the longer completion of a pair to the shorter: a loop that never ended teaches only its length."""
MAX_MEAN_DIFFERENCE = 0.02
"""Of the mean lengths of right and wrong completions, as a share of the mean of all."""
NO_RIGHT, NO_WRONG, UNLIKE, UNBALANCED = "none passed", "all passed", "lengths too far apart", "balance of lengths"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of one prompt."""

    item: str
    prompt: str
    chosen: str
    """Passed its tests."""
    rejected: str
    """Failed."""

    @property
    def longer_by(self) -> int:
        """Characters that the chosen one has more."""
        return len(self.chosen) - len(self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSet:
    """Pairs, and what became of the items and pairs that are not among them."""

    pairs: tuple[Pair, ...]
    num_items: int
    left_out: Mapping[str, int]
    """Reason -> items without a pair, or pairs."""

    def mean_chars(self) -> tuple[float, float]:
        """Return the mean characters of chosen and rejected completions."""
        total = max(len(self.pairs), 1)
        chosen = sum(len(pair.chosen) for pair in self.pairs)
        return chosen / total, (chosen - sum(pair.longer_by for pair in self.pairs)) / total


def make_pairs(samples: Iterable[Mapping[str, Any]], *, per_item: int = PAIRS_PER_ITEM) -> PairSet:
    """Return the pairs of judged samples, which stand item by item.

    A sample without a verdict, an empty one, and a text that both passed and failed are in no pair; a text is in one
    pair of its item at most.
    """
    left_out, pairs, num_items = Counter[str](), list[Pair](), 0
    for item, rows in groupby(samples, key=lambda row: row["task_id"]):
        num_items += 1
        own = list(rows)
        right, wrong = _texts(own, "passed"), _texts(own, "failed")
        found = _alike([text for text in right if text not in wrong], [text for text in wrong if text not in right])
        pairs += [Pair(item, own[0]["prompt"], *texts) for texts in found[:per_item]]
        if not found:
            left_out[NO_RIGHT if not right else NO_WRONG if not wrong else UNLIKE] += 1
    balanced = _balanced(pairs)
    left_out[UNBALANCED] = len(pairs) - len(balanced)
    return PairSet(pairs=tuple(balanced), num_items=num_items, left_out=dict(+left_out))


def _texts(rows: Sequence[Mapping[str, Any]], verdict: str) -> dict[str, None]:
    return dict.fromkeys(row["completion"] for row in rows if row["verdict"] == verdict and row["completion"].strip())


def _alike(right: Sequence[str], wrong: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of texts, those of most similar length first, each text once."""
    apart = {(a, b): abs(math.log(len(a) / len(b))) for a, b in product(right, wrong)}
    found, used = [], set[str]()
    for (a, b), distance in sorted(apart.items(), key=lambda entry: (entry[1], entry[0])):
        if distance <= math.log(MAX_LENGTH_RATIO) and not used & {a, b}:
            found.append((a, b))
            used |= {a, b}
    return found


def _balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs without those that make the chosen ones longer, or shorter, on average than the rejected."""
    total = sum(len(pair.chosen) + len(pair.rejected) for pair in pairs) / 2
    excess, dropped = sum(pair.longer_by for pair in pairs), set[int]()
    sign = 1 if excess > 0 else -1
    order = sorted(range(len(pairs)), key=lambda number: -sign * pairs[number].longer_by)
    for number in order:
        pair = pairs[number]
        if sign * excess <= MAX_MEAN_DIFFERENCE * total:
            break
        if 0 < sign * pair.longer_by <= sign * excess:
            dropped.add(number)
            excess -= pair.longer_by
            total -= (len(pair.chosen) + len(pair.rejected)) / 2
    return [pair for number, pair in enumerate(pairs) if number not in dropped]


def write_pairs(runs: Sequence[Path], output: Path, *, per_item: int = PAIRS_PER_ITEM) -> dict[str, Any]:
    """Write the pairs of finished runs with samples, and their facts beside them, which are returned.

    Raises:
        ValueError: a run is of a benchmark that models are measured by, runs are of several models, or no pair is left.
    """
    scores = [read_score(folder) for folder in runs]
    for folder, score in zip(runs, scores, strict=True):
        if score.benchmark in BENCHMARKS:
            raise ValueError(
                f"{str(folder)!r} is a run on {score.benchmark!r}, which measures models and must not train them; run "
                f"the model on exercises of your own: python -m codeft_assets.exercises --practice FILE, and name it "
                f"in {OWN_VARIABLE}"
            )
    if len({score.model_hash for score in scores}) != 1:
        raise ValueError("the runs are of several models; pairs show a model its own attempts, so give runs of one")
    found = make_pairs((row for folder in runs for row in read_samples(folder)), per_item=per_item)
    if not found.pairs:
        raise ValueError(
            f"no item of {found.num_items} has a right and a wrong completion of similar length: {found.left_out}; "
            "draw more samples (--num-samples), or easier exercises"
        )
    output.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in found.pairs)
    write_atomically(output / PAIRS_FILE, lines)
    chosen, rejected = found.mean_chars()
    facts = {
        "benchmarks": sorted({score.benchmark for score in scores}),
        "data_sha256": sorted({score.data_sha256 for score in scores}),
        "model_hash": scores[0].model_hash,
        "num_items": found.num_items,
        "num_items_with_pairs": len({pair.item for pair in found.pairs}),
        "num_pairs": len(found.pairs),
        "left_out": found.left_out,
        "mean_chars_chosen": round(chosen, 1),
        "mean_chars_rejected": round(rejected, 1),
        "content_hash": file_hash(output / PAIRS_FILE),
    }
    write_atomically(output / FACTS_FILE, json.dumps(facts, indent=1) + "\n")
    return facts
