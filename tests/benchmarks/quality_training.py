"""Measures whether the quality filter matters: one tiny model, the same tokens, on filtered and on unfiltered text.

    python tests/benchmarks/quality_training.py --json
    python tests/benchmarks/quality_training.py --recipe h200-10min --home .codeft    # the same on a GPU

The text is Python of the running interpreter and of the installed packages, or with ``--home`` the raw documents of a
data root. Half of its files are held out by their content. Two corpora are made of the rest: all of it, and the share
that the classifier likes best. Both models have the same recipe, seed, tokenizer, number of steps and so of tokens.
Their loss is read in bits per byte on held-out documents that a person labeled 4 or 5 (`textbook`), on a random sample
of held-out files (`plain`), and on the best of these by the classifier (`best`). The labels of the first were never
shown to the classifier.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeft_assets.annotators.shipped_labels import labeled_documents
from codeft_assets.curation.ingest.normalize import normalize_text
from codeft_assets.curation.quality.classifier import fit_classifier, score_documents
from codeft_assets.curation.quality.rules import drop_reasons
from codeft_assets.sources import SOURCES
from codeft_assets.store.data_root import Store
from codeft_training.recipes import find_recipe

ROOT = Path(__file__).parents[2]
MIN_BYTES, MAX_BYTES = 500, 60_000
TEXTBOOK_LABEL = 4
NUM_HELD_OUT = 300
SPLIT_SEED = 5
DOMAINS = ("textbook", "plain", "best")


def print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts that both models are trained and evaluated on."""

    training: pl.DataFrame
    """``text``, ``educational_value`` and ``drop_reason`` of every file that may train."""
    held_out: dict[str, list[str]]
    """Texts by domain; none of them trains."""


def local_files() -> Iterator[str]:
    """Yield Python of the interpreter and of the installed packages, tests and tables among it, in path order."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    for path in sorted({path for root in roots for path in root.rglob("*.py")}):
        if MIN_BYTES <= path.stat().st_size <= MAX_BYTES:
            yield normalize_text(path.read_text(encoding="utf-8", errors="replace"))


def documents_of(home: str) -> Iterator[str]:
    """Yield the raw code documents of a data root."""
    for name, source in SOURCES.items():
        if (source.format, source.domain) == ("raw", "code"):
            yield from Store(home).table(f"documents/{name}").read(["text"])["text"]


def content_number(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text, seed=SPLIT_SEED)


def collect(home: str, max_megabytes: float) -> Texts:
    """Return the texts: each once, those that were labeled in no pool, every second one held out."""
    training_labels, held_out_labels = labeled_documents(SOURCES.values())
    classifier = fit_classifier(training_labels, seed=0)
    labeled = {content_number(text) for side in (training_labels, held_out_labels) for text in side.text.to_pylist()}
    unique = {content_number(text): text for text in (documents_of(home) if home else local_files())}
    numbers, size = [], 0.0
    for number in sorted(unique.keys() - labeled):  # the order of a hash: a random sample
        size += len(unique[number]) / 1e6
        if size > max_megabytes:
            break
        numbers.append(number)
    scored = scored_texts(classifier, [unique[number] for number in numbers])
    is_held_out = pl.Series([number % 2 == 0 for number in numbers])
    is_textbook = (held_out_labels.label >= TEXTBOOK_LABEL) & (
        np.array(held_out_labels.language.to_pylist()) == "python"
    )
    held_out = scored.filter(is_held_out)
    return Texts(
        training=scored.filter(~is_held_out),
        held_out={
            "textbook": held_out_labels.select(is_textbook).text.to_pylist(),
            "plain": held_out.head(NUM_HELD_OUT)["text"].to_list(),
            "best": held_out.tail(-NUM_HELD_OUT).top_k(NUM_HELD_OUT, by="educational_value")["text"].to_list(),
        },
    )


def scored_texts(classifier, texts: list[str]) -> pl.DataFrame:
    language = pa.array(["python"] * len(texts))
    scored = score_documents(classifier, pa.array(texts, pa.large_string()), language).with_columns(
        text=pl.Series(texts),
        format=pl.lit("raw"),
        domain=pl.lit("code"),
        language=pl.lit("python"),
        minimum_educational_value=pl.lit(None, pl.Float32),
    )
    return scored.hstack(drop_reasons(scored)).select("text", "educational_value", "drop_reason")


def write_corpus(folder: Path, training: list[str], held_out: dict[str, list[str]]) -> Path:
    """Write a mixture table as codeft_training reads it."""
    rows = [("train", "code", text) for text in training]
    rows += [("validation", domain, text) for domain, texts in held_out.items() for text in texts]
    frame = pl.DataFrame(rows, schema=["split", "domain", "text"], orient="row").with_columns(
        document_id=pl.int_range(pl.len()).cast(pl.String).str.zfill(32),
        source=pl.lit("files"),
        format=pl.lit("raw"),
        language=pl.lit("python"),
        messages=pl.lit(None, pl.List(pl.Struct({"role": pl.String, "content": pl.String}))),
        epochs=pl.lit(1, pl.UInt8),
        annealing_epochs=pl.lit(0, pl.UInt8),
    )
    (folder / "shards").mkdir(parents=True)
    pq.write_table(frame.to_arrow(), folder / "shards" / "0.parquet")
    shard = {"path": "shards/0.parquet", "num_rows": frame.height, "content_hash": "", "unit": "0"}
    digest = xxhash.xxh3_128_hexdigest("\n".join(frame["text"]))
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "content_hash": digest, "shards": [shard]}))
    return folder


def program(*arguments: str) -> None:
    """Run one command of codeft_training."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "codeft_training", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {done.stderr[-2000:]}")


def trained(folder: Path, tokenizer: Path, recipe: str, changes: list[str], seed: int) -> dict[str, float]:
    """Return the bits per byte, by domain, of a model trained on the corpus at ``folder``."""
    context = find_recipe(recipe, dict(change.split("=", 1) for change in changes)).data.context_tokens
    packed, output = folder / "packed", folder / f"model-{seed}"
    if not packed.exists():
        program(
            "pack", "--corpus", str(folder), "--tokenizer", str(tokenizer), "--output", str(packed),
            "--context-tokens", str(context),
        )  # fmt: skip
    settings = [part for change in [*changes, f"seed={seed}"] for part in ("--set", change)]
    program(
        "train", "--packed", str(packed), "--tokenizer", str(tokenizer), "--output", str(output),
        "--recipe", recipe, *settings,
    )  # fmt: skip
    result = json.loads((output / "result.json").read_text())
    print_progress(f"  {folder.name} seed {seed}: {result['num_tokens_seen']:,} tokens read, {result['validation']}")
    return {name: result["validation"][f"bits_per_byte_{name}"] for name in DOMAINS} | {
        "num_tokens": result["num_tokens_seen"],
        "passes": result["num_tokens_seen"] / result["num_tokens_in_corpus"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="smoke", help="of codeft_training: what to train, and for how long")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe's field")
    parser.add_argument("--home", default="", help="data root whose raw documents are the text; empty: local code")
    parser.add_argument("--keep", type=float, default=0.3, help="share of the text, the best, that the filter keeps")
    parser.add_argument("--megabytes", type=float, default=60.0, help="text to draw from; a GPU reads more")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    texts = collect(options.home, options.megabytes)
    passing = texts.training.filter(pl.col("drop_reason").is_null())
    best = passing.top_k(round(options.keep * texts.training.height), by="educational_value")
    pools = {"unfiltered": texts.training["text"].to_list(), "filtered": sorted(best["text"].to_list())}
    for name, found in (pools | texts.held_out).items():
        print_progress(f"  {name:12} {len(found):6} documents {sum(map(len, found)) / 1e6:7.2f} MB")
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in pools}
    with tempfile.TemporaryDirectory() as name:
        folders = {pool: write_corpus(Path(name) / pool, found, texts.held_out) for pool, found in pools.items()}
        tokenizer = Path(name) / "tokenizer"
        chosen = find_recipe(options.recipe, dict(change.split("=", 1) for change in options.set))
        vocabulary = chosen.values()["vocab_size"]  # of a recipe from scratch
        program(
            "tokenizer", "--corpus", str(folders["unfiltered"]), "--output", str(tokenizer),
            "--set", f"vocab_size={vocabulary}",
        )  # fmt: skip
        for seed in range(1, options.seeds + 1):
            for pool, folder in folders.items():
                measured[pool].append(trained(folder, tokenizer, options.recipe, options.set, seed))
    report(measured, wants_json=options.json)


def report(measured: dict[str, list[dict[str, float]]], *, wants_json: bool) -> None:
    means = {
        pool: {key: float(np.mean([run[key] for run in runs])) for key in runs[0]} for pool, runs in measured.items()
    }
    print_progress(f"{'bits per byte':12} {'unfiltered':>12} {'filtered':>12} {'difference':>12}")
    for domain in DOMAINS:
        first, second = means["unfiltered"][domain], means["filtered"][domain]
        print_progress(f"{domain:12} {first:12.4f} {second:12.4f} {second - first:+12.4f} ({second / first - 1:+.2%})")
    if wants_json:
        numbers = {
            f"{pool}_{domain}_bits_per_byte": round(means[pool][domain], 4) for pool in means for domain in DOMAINS
        }
        spreads = {
            f"{domain}_difference_by_seed": [
                round(f[domain] - u[domain], 4)
                for u, f in zip(measured["unfiltered"], measured["filtered"], strict=True)
            ]
            for domain in DOMAINS
        }
        passes = {f"{pool}_passes": round(means[pool]["passes"], 2) for pool in means}
        print(json.dumps({**numbers, **spreads, **passes, "num_tokens": int(means["filtered"]["num_tokens"])}))


if __name__ == "__main__":
    main()
