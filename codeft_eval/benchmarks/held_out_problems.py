"""The competition problems that are never trained on: a rule that reads the problem and nothing else.

Invariant: a problem is held out, or trained on, wherever it stands and however often it comes; so the same rule,
applied again to a corpus, proves that none was trained on. The rows that it picks are a benchmark.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base.files import write_atomically
from codeft_eval.benchmarks.datafiles import rows_sha256
from codeft_eval.benchmarks.math_answers import reference_answer

FILE, FACTS = "competition_math.jsonl", "held_out.json"
SHARE = 10
"""One problem in so many: of 9,000 that leaves 900, a standard error below 1.7 points."""
_SEED = 5
"""Any would do; under this one the embedded sample holds out two problems whose answers can be compared."""
RULE = f"sha256 of seed {_SEED} and the problem, white space and case folded, divisible by {SHARE}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as its document holds it; the solution is empty where there is none."""

    problem: str
    solution: str

    @property
    def key(self) -> str:
        """64 hex digits, equal for problems that differ in white space and case only."""
        folded = " ".join(self.problem.split()).lower()
        return hashlib.sha256(f"comp-math held out {_SEED}\0{folded}".encode()).hexdigest()

    @property
    def is_held_out(self) -> bool:
        """Whether it is never trained on."""
        return int(self.key[:16], 16) % SHARE == 0


def to_problem(document: Mapping[str, Any]) -> Problem:
    """Return the problem of a document: the first of its ``messages``, or else its ``text``."""
    turns = [turn["content"] for turn in document["messages"] or ()]
    return Problem(turns[0], "\n\n".join(turns[1:])) if turns else Problem(document["text"], "")


def held_out_rows(documents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the benchmark's rows, by key: a problem that comes several times is one, with its longest solution.

    ``document_ids`` names every document that holds the problem: none of them may be trained on.
    """
    found: dict[str, list[tuple[str, Problem]]] = {}
    for document in documents:
        problem = to_problem(document)
        if problem.is_held_out:
            found.setdefault(problem.key, []).append((document["document_id"], problem))
    return [_row(key, found[key]) for key in sorted(found)]


def _row(key: str, copies: list[tuple[str, Problem]]) -> dict[str, Any]:
    _, best = max(copies, key=lambda copy: (len(copy[1].solution), copy[0]))
    return {
        "task_id": f"comp-math/{key[16:28]}",
        "problem": best.problem,
        "solution": best.solution,
        "answer": reference_answer(best.problem, best.solution),
        "document_ids": sorted(document_id for document_id, _ in copies),
    }


def write_held_out(rows: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """Write ``held_out_rows`` as the benchmark's file and return the facts beside it: counts, rule and hash."""
    facts = {
        "format": 1,
        "rule": RULE,
        "num_held_out": len(rows),
        "num_with_solution": sum(bool(row["solution"]) for row in rows),
        "num_with_answer": sum(bool(row["answer"]) for row in rows),
        "rows_sha256": rows_sha256(rows),
    }
    write_atomically(folder / FILE, "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows))
    write_atomically(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    return facts


def read_documents(folder: Path) -> list[dict[str, Any]]:
    """Return id, turns and text of the documents that the table's manifest names.

    Raises:
        ValueError: the folder holds no committed table.
    """
    import pyarrow.parquet as pq

    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise ValueError(f"{str(folder)!r} has no manifest.json; materialize documents/comp-math first")
    shards = json.loads(manifest.read_text(encoding="utf-8"))["shards"]
    columns = ["document_id", "messages", "text"]
    return [row for shard in shards for row in pq.read_table(folder / shard["path"], columns=columns).to_pylist()]
