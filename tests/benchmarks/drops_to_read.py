"""Draws what a person has to read to judge the filter: dropped documents of each reason, and kept ones.

    python tests/benchmarks/drops_to_read.py --jsonl A.jsonl.zst B.jsonl --output to_read.jsonl
    python tests/benchmarks/drops_to_read.py --verdicts verdicts.csv --drawn to_read.jsonl

The first command decides about files (``text``, ``path``) that no label comes from, as `quality/scores` does with a
minimum of 0.25 by language, and writes up to 40 documents of each reason with an excerpt. The second counts verdicts
(``number,verdict``; 1 where the decision was right) into precision by reason, as one JSON.
"""

import argparse
import csv
import json
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import xxhash

from codeft_assets.annotators.shipped_labels import labeled_documents
from codeft_assets.curation.ingest.normalize import normalize_text
from codeft_assets.curation.ingest.programming_languages import detect_language, language_from_path
from codeft_assets.curation.quality.classifier import fit_classifier, score_documents
from codeft_assets.curation.quality.rules import drop_reasons
from codeft_assets.curation.quality.thresholds import OTHER_LANGUAGES, Threshold, minimum_by_language
from codeft_assets.sources import SOURCES

NUM_TO_READ = 40
EXCERPT_CHARS = 420
MINIMUM = 0.25


def read_files(paths, num_files, seed=0):
    """Return a sample of the files: as many of each JSON Lines file."""
    chosen = []
    for path in paths:
        with pa.input_stream(str(path), compression="detect") as stream:
            rows = [json.loads(line) for line in stream.read().splitlines()]
        rows = [row | {"repo": path.name.split(".")[0]} for row in rows if row["text"].strip()]
        chosen += random.Random(seed).sample(rows, min(len(rows), num_files))
    return chosen


def decide(rows):
    training, _ = labeled_documents(SOURCES.values())
    texts = [normalize_text(row["text"]) for row in rows]
    language = [language_from_path(row["path"]) or detect_language(text) for row, text in zip(rows, texts, strict=True)]
    scored = score_documents(fit_classifier(training, seed=0), pa.array(texts, pa.large_string()), pa.array(language))
    frame = scored.with_columns(
        pl.Series("language", language), format=pl.lit("raw"), domain=pl.lit("code"), text=pl.Series(texts)
    )
    reached = minimum_by_language(frame, Threshold(value=MINIMUM))
    frame = frame.with_columns(
        minimum_educational_value=pl.col("language").replace_strict(
            reached, default=reached[OTHER_LANGUAGES], return_dtype=pl.Float64
        )
    )
    named = pl.DataFrame({"repo": [row["repo"] for row in rows], "path": [row["path"] for row in rows]})
    return pl.concat([named, frame, drop_reasons(frame, natural_languages=("en",))], how="horizontal")


def excerpt(text):
    return text if len(text) <= EXCERPT_CHARS else f"{text[: EXCERPT_CHARS - 120]} […] {text[len(text) // 2 :][:120]}"


def draw(decided, seed=1):
    reasons = decided["drop_reason"].fill_null("kept")
    for reason in sorted(reasons.unique()):
        of_reason = decided.filter(reasons == reason)
        for row in of_reason.sample(min(NUM_TO_READ, of_reason.height), seed=seed).iter_rows(named=True):
            value = round(row["educational_value"], 3)
            yield {
                **{"reason": reason, "repo": row["repo"], "path": row["path"], "language": row["language"]},
                **{"value": value, "detail": row["drop_detail"], "content_hash": xxhash.xxh3_64_hexdigest(row["text"])},
                "excerpt": excerpt(row["text"]),
            }


def count(verdicts, drawn):
    """Return by reason how many documents were read and the share of right decisions."""
    rows = [json.loads(line) for line in drawn.read_text().splitlines()]
    with verdicts.open() as file:
        right = {int(row["number"]): row["verdict"] == "1" for row in csv.DictReader(file)}
    by_reason = {}
    for number, row in enumerate(rows):
        if number in right:
            by_reason.setdefault(row["reason"], []).append(right[number])
    return {
        name: {"read": len(found), "precision": round(sum(found) / len(found), 3)} for name, found in by_reason.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jsonl", type=Path, nargs="+")
    parser.add_argument("--files", type=int, default=400, help="files of each JSON Lines file")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--verdicts", type=Path)
    parser.add_argument("--drawn", type=Path)
    options = parser.parse_args()
    if options.verdicts:
        print(json.dumps(count(options.verdicts, options.drawn), indent=1))
        return
    decided = decide(read_files(options.jsonl, options.files))
    options.output.write_text("".join(json.dumps(row) + "\n" for row in draw(decided)))
    shares = decided.group_by(reason=pl.col("drop_reason").fill_null("kept")).len().sort("len", descending=True)
    print(json.dumps({"documents": decided.height, "by_reason": dict(shares.iter_rows())}))


if __name__ == "__main__":
    main()
