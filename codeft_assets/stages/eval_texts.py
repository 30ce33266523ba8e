"""Evaluation texts: measured while a model trains and never trained on, so a fall in bits per byte is learning.

Pure: held-out problems, held-out code and the items of two benchmarks in, JSON lines out; equal inputs, equal lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import polars as pl
import xxhash

from codeft_assets.curation.corpus.mixture import VALIDATION

MAX_TEXTS = 32
"""Of a domain: enough to see a trend, few enough to cost a small part of a step's time."""
MAX_CHARS = 2000
MAX_PROMPTS = 16
"""Of a benchmark's items that the model also continues: those with the shortest solutions, which a small model passes
first; all 44 of the embedded one, with room for the longest, would take a tenth of a short run."""
COMPETITION_MATH, CODE = "competition_math", "code"
Solved = Iterable[tuple[str, str, str]]
"""Id, prompt and canonical solution of a benchmark's items."""


def choose_code(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the held-out code that ``eval_text_lines`` takes, of documents that come in parts."""
    held_out, chosen = (pl.col("split") == VALIDATION) & (pl.col("domain") == CODE), pl.DataFrame()
    for part in parts:
        found = part.filter(held_out & (pl.col("text").str.strip_chars() != ""))
        both = pl.concat([chosen, found]) if chosen.width else found
        ranks = list(map(_rank, both["document_id"]))
        chosen = both[sorted(range(both.height), key=ranks.__getitem__)[:MAX_TEXTS]]
    return chosen


def _rank(name: str) -> tuple[str, str]:
    """Return the place of a text among others: a sample that leans towards no source and no easy items."""
    return xxhash.xxh3_64_hexdigest(name), name


def eval_text_lines(documents: pl.DataFrame, competition: Solved, benchmarks: Mapping[str, Solved]) -> str:
    """Return JSON lines of ``domain``, ``context`` and ``text``; a domain without a text is not there.

    A line with an ``item`` names a benchmark's item whose ``context`` the model continues too.

    Args:
        documents: The corpus with ``document_id``, ``domain``, ``split`` and ``text``.
        competition: The held-out competition problems.
        benchmarks: Benchmarks of code whose items the model continues, by name.
    """
    held_out = choose_code([documents])
    rows = [(CODE, document_id, "", text) for document_id, text in held_out.select("document_id", "text").iter_rows()]
    for domain, solved in ((COMPETITION_MATH, competition), *benchmarks.items()):
        rows += [(domain, *item) for item in solved]
    rows = [(*row[:3], row[3][:MAX_CHARS]) for row in rows if row[3].strip()]
    by_domain: dict[str, list[tuple[str, str, str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row[0], *_rank(row[1]))):
        by_domain.setdefault(row[0], []).append(row)
    kept = [row for found in by_domain.values() for row in found[:MAX_TEXTS]]
    shortest = [sorted((len(row[3]), row[1]) for row in kept if row[0] == name)[:MAX_PROMPTS] for name in benchmarks]
    continued = {item for found in shortest for _, item in found}
    lines = [
        {"domain": domain, "context": context, "text": text, **({"item": name} if name in continued else {})}
        for domain, name, context, text in kept
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)
