"""Yield of the exercise makers: made, passed, kept after decontamination and dedup, tokens a minute.

    python tests/benchmarks/exercise_yield.py --output FILE [--composed N] [--taught FOLDER] [--units FOLDER ...]
        [--home FOLDER]

Writes JSON: one entry a maker, with reasons and seconds. ``--taught`` is a folder that
``codeft_assets.teachers`` wrote; ``--units`` are folders of Python files, or names of installed packages;
``--home`` is a data root with a ledger.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.ingest.function_units import function_units
from codeft_assets.curation.ingest.rows import Provenance, adapt_rows
from codeft_assets.exercises.views import WRITE, exercise_row
from codeft_assets.origins import LocalCodeOrigin
from codeft_assets.stages.doctests import LIMITS, WithDoctests
from codeft_assets.stages.yields import source_yields
from codeft_assets.store.data_root import Store
from codeft_eval.sandbox.pool import Sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--composed", type=int, default=2000, help="exercises to make")
    parser.add_argument("--taught", type=Path, help="folder of a teacher's exercises")
    parser.add_argument("--units", nargs="*", default=["stdlib"], help="folders or packages")
    parser.add_argument("--home", type=Path, help="a data root whose ledger tells what was kept")
    options = parser.parse_args()
    found: dict[str, Any] = {"composed": composed(options.composed)}
    if options.taught:
        found["taught"] = json.loads((options.taught / "yield.json").read_text(encoding="utf-8"))
    found |= {f"units of {Path(package).name}": units(package) for package in options.units}
    if options.home:
        found["by source"] = in_corpus(Store(str(options.home)))
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


def composed(number: int) -> dict[str, Any]:
    begin = time.monotonic()
    texts = [str(exercise_row(1, i, views={WRITE: 1.0}, javascript_share=0.0)["text"]) for i in range(number)]
    return _entry(number, len(texts), len(set(texts)), sum(map(len, texts)), time.monotonic() - begin, {})


def units(package: str) -> dict[str, Any]:
    begin = time.monotonic()
    origin = LocalCodeOrigin(packages=(str(Path(package).resolve()) if "/" in package else package,))
    upstream = origin.resolve()
    rows = (row for file in upstream.files for row in origin.read(upstream, file))
    facts = Provenance(source="units", revision="", domain="code", format="raw", license="")
    made = passed = num_chars = with_doctests = 0
    dropped: Counter[str] = Counter()
    hashes: set[bytes] = set()
    with Sandbox(limits=LIMITS) as sandbox:
        for documents, _, report in adapt_rows(rows, WithDoctests(function_units, sandbox), facts):
            made, passed = made + report.num_in, passed + report.num_out
            dropped.update(report.dropped)
            hashes |= set(documents["content_hash"].to_pylist())
            num_chars += sum(documents["num_chars"].to_pylist())
            with_doctests += sum(">>>" in text for text in documents["text"].to_pylist())
    seconds = time.monotonic() - begin
    return _entry(made, passed, len(hashes), num_chars, seconds, dict(dropped)) | {"with_doctests": with_doctests}


def in_corpus(store: Store) -> list[dict[str, Any]]:
    ledger = store.table("corpus/ledger").read(["source", "fate", "stage", "num_chars"])
    names = sorted(ledger["source"].unique().to_list())
    reports = {name: store.table(f"documents/{name}").manifest().report for name in names}
    return [asdict(found) for found in source_yields(ledger, reports)]


def _entry(
    made: int, passed: int, distinct: int, num_chars: int, seconds: float, dropped: dict[str, int]
) -> dict[str, Any]:
    return {
        "made": made,
        "passed": passed,
        "distinct": distinct,
        "rejected": dropped,
        "tokens_estimated": round(num_chars / CHARS_PER_TOKEN),
        "tokens_per_minute": round(60 * num_chars / CHARS_PER_TOKEN / seconds),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
