"""The texts that are weighed while a model trains: none of them is trained on, so a fall in bits per byte is learning.

Pure: the held-out documents of the corpus and the embedded benchmark in, JSON lines out; equal inputs, equal lines.
"""

import json
from collections.abc import Iterable, Mapping

import polars as pl
import xxhash

from codeft_assets.curation.mixture import VALIDATION

MAX_TEXTS = 32
"""Of a domain: enough to see a trend, few enough to cost a small part of a step's time."""
MAX_CHARS = 2000
COMPETITION_MATH, CODE, EMBEDDED = "competition_math", "code", "embedded"
_DOMAINS: Mapping[str, pl.Expr] = {
    COMPETITION_MATH: pl.col("source") == "comp-math",
    CODE: pl.col("domain") == "code",
}


def probe_lines(documents: pl.DataFrame, solved: Iterable[tuple[str, str, str]]) -> str:
    """Return JSON lines of ``domain``, ``context`` and ``text``; a domain without a text is not there.

    Args:
        documents: The corpus with ``document_id``, ``source``, ``domain``, ``split`` and ``text``.
        solved: Id, prompt and canonical solution of the embedded benchmark's items.
    """
    held_out = documents.filter(pl.col("split") == VALIDATION)
    rows = [(EMBEDDED, item, prompt, solution) for item, prompt, solution in solved]
    for domain, belongs in _DOMAINS.items():
        chosen = held_out.filter(belongs).select("document_id", "text")
        rows += [
            (domain, document_id, "", text[:MAX_CHARS]) for document_id, text in chosen.iter_rows() if text.strip()
        ]
    by_domain: dict[str, list[tuple[str, str, str, str]]] = {}
    # by hash of the id: a sample that does not lean towards the first source or the easiest items
    for row in sorted(rows, key=lambda row: (row[0], xxhash.xxh3_64_hexdigest(row[1]), row[1])):
        by_domain.setdefault(row[0], []).append(row)
    kept = [row for found in by_domain.values() for row in found[:MAX_TEXTS]]
    return "".join(json.dumps({"domain": row[0], "context": row[2], "text": row[3]}) + "\n" for row in kept)
