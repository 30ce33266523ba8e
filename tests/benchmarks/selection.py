"""Selection of instruct documents (XCoder, arXiv 2409.03810) against its absence: small models at equal tokens.

    python tests/benchmarks/selection.py --corpus FOLDER --pool SOURCE... --seeds 1 2 3 --output F.json

The pool are documents of a corpus that are taken for instructions. They are judged as ``selection/instructions``
judges them: own tests in the sandbox, complexity, distance. Three ways then read the same share of the pool and the
same other documents for as many tokens: ``all`` of the pool, the ``selected`` part, and a ``drawn`` part of the same
size. Measured are bits per byte of held-out documents of the pool (``instruct``), of those whose own tests all pass
(``instruct_passing``), of the texts of ``--probe``, and the exercises of ``composed`` that are solved. Differences are
means over the seeds with a 95 % interval (Student, paired by seed); those of ``composed`` are paired by item. The
outcomes stand in ``selection.parquet`` beside the file, and are not computed again; neither is a run that is finished.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from codeft_assets.base.files import write_atomically
from codeft_assets.curation.quality.embedding import fit_embedding
from codeft_assets.curation.quality.signals import measure_signals
from codeft_assets.curation.selection.select import SelectionParams, complexity, select_documents
from codeft_assets.stages.own_tests import LIMITS, OwnTests, run_own_tests
from codeft_assets.stages.selection import MAX_FITTED, NUM_DIMENSIONS
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.scoring.samples import pass_rates, read_samples
from codeft_eval.statistics.comparison import paired
from codeft_training.data.corpus import Corpus

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.optimization_options import interval

ALL, SELECTED, DRAWN = "all", "selected", "drawn"
KINDS = {(True, True): "selected-drawn", (True, False): "selected", (False, True): "drawn", (False, False): "rest"}
"""Source of a document of the pool, by whether it is selected and whether it is drawn."""
WAYS = {
    ALL: tuple(KINDS.values()),
    SELECTED: tuple(kind for (is_selected, _), kind in KINDS.items() if is_selected),
    DRAWN: tuple(kind for (_, is_drawn), kind in KINDS.items() if is_drawn),
}
SETTINGS = {
    "vocab_size": 8192, "hidden_size": 256, "num_layers": 8, "num_heads": 4, "num_kv_heads": 2, "bf16": "true",
    "intermediate_size": 768, "batch_rows": 64, "accumulation_steps": 1, "max_steps": 260, "compile": "layers",
    "budget_seconds": 0, "weight_decay": 0.1, "validate_every_steps": 260, "save_every_steps": 100000,
    "log_every_steps": 20, "decay_fraction": 0,
}  # fmt: skip
FINETUNING = {
    "context_tokens": 512, "batch_rows": 32, "accumulation_steps": 1, "max_steps": 48, "learning_rate": 1e-4,
    "weight_decay": 0.01, "validate_every_steps": 48, "save_every_steps": 100000, "log_every_steps": 8,
    "decay_fraction": 0, "bf16": "true", "validation_rows": 16,
}  # fmt: skip


def judge(texts, *, runs_tests):
    """Return num_tests and quality of each text: the share of its own tests that pass, null where it states none."""
    found = [] if runs_tests else [OwnTests(0, None)] * len(texts)
    texts = texts if runs_tests else []
    with Sandbox(limits=LIMITS) as sandbox:
        for first in range(0, len(texts), 2000):
            found += run_own_tests(texts[first : first + 2000], sandbox)
            print(f"judged {len(found):,} of {len(texts):,}", flush=True)
    counts = pl.Series("num_tests", [own.num_tests for own in found], pl.UInt32)
    return pl.DataFrame([counts, pl.Series("quality", [own.share for own in found], pl.Float64)])


def cpu_seconds(start, end):
    """Return the CPU-seconds of this process, and of those of its children that have ended."""
    return sum(after - before for before, after in zip(start[:4], end[:4], strict=True))


def select(pool, path, *, runs_tests=True):
    """Return the outcome of each document of the pool; what is in the file is not computed again."""
    if path.is_file():
        return pl.read_parquet(path)
    start, text = os.times(), pool["text"].cast(pl.String).to_arrow().cast("large_string")
    signals = measure_signals(text, pool["language"].cast(pl.String).to_arrow().cast("large_string"))
    # the corpus is decontaminated: nothing leaks
    measured = pool.select("document_id", "source").with_columns(complexity(signals), leak=pl.lit(0.0))
    judging = os.times()
    measured = pl.concat([measured, judge(pool["text"].to_list(), runs_tests=runs_tests)], how="horizontal")
    judged = os.times()
    size = min(NUM_DIMENSIONS, len(pool))
    vectors = fit_embedding(text[:MAX_FITTED], seed=1, num_dimensions=size).vectors(text)
    rows, report = select_documents(measured, np.asarray(vectors, dtype=np.float32), SelectionParams())
    seconds = {"own tests": cpu_seconds(judging, judged), "all else": cpu_seconds(start, os.times())}
    seconds["all else"] -= seconds["own tests"]
    print(report, {name: round(value, 1) for name, value in seconds.items()}, "CPU-seconds", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path)
    return rows


def divide(pool, outcomes):
    """Return the pool with ``kind``: as many bytes are drawn of its training documents as are selected."""
    found = pool.join(outcomes.select("document_id", "drop_reason", "quality"), on="document_id", maintain_order="left")
    found = found.with_columns(is_selected=pl.col("drop_reason").is_null(), size=pl.col("text").str.len_bytes())
    wanted = found.filter((pl.col("split") == "train") & pl.col("is_selected"))["size"].sum()
    order = found.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=1)
    drawn = order.filter(pl.col("size").cum_sum() <= wanted)["document_id"]
    is_drawn = found["document_id"].is_in(drawn.implode())
    kinds = [KINDS[pair] for pair in zip(found["is_selected"], is_drawn, strict=True)]
    return found.with_columns(kind=pl.Series(kinds))


def write_corpus(corpus, divided, folder):
    """Write the corpus with the pool's documents as sources by their kind, of the format ``instruct``."""
    kinds = divided.select("document_id", "kind")
    named = corpus.join(kinds, on="document_id", how="left", maintain_order="left").with_columns(
        source=pl.coalesce(pl.format("pool-{}", "kind"), "source"),
        format=pl.when(pl.col("kind").is_null()).then("format").otherwise(pl.lit("instruct")),
    )
    folder.mkdir(parents=True, exist_ok=True)
    named.drop("kind").write_parquet(folder / "0.parquet")
    name = f"{named.select('document_id', 'source').hash_rows(seed=1).sum():032x}"
    (folder / "manifest.json").write_text(json.dumps({"content_hash": name, "shards": [{"path": "0.parquet"}]}))


def write_probe(divided, path, extra):
    held_out = divided.filter(pl.col("split") == "validation")
    passing = held_out.filter(pl.col("quality") == 1.0)
    rows = [
        {"domain": name, "text": text}
        for name, part in (("instruct", held_out), ("instruct_passing", passing))
        for text in part["text"]
    ]
    more = extra.read_text() if extra else ""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + more)


def command(log, *arguments):
    """Run a module of the project as a process of its own, its output in a file."""
    with log.open("w") as file:
        line = [sys.executable, "-m", *map(str, arguments)]
        if subprocess.run(line, stdout=file, stderr=subprocess.STDOUT).returncode:
            raise SystemExit(f"{' '.join(line)}\n{log.read_text()[-3000:]}")


def measure(given, folder, settings, way, seed):
    """Train one model, unless it is there, let it solve exercises, and return what is measured."""
    run, start = folder / "runs" / f"{way}-{seed}", time.monotonic()
    if not (run / "composed" / "scores.json").is_file():
        run.mkdir(parents=True, exist_ok=True)
        pool = "|".join(f"pool-{kind}" for kind in WAYS[way])
        mixture = {f"source={pool}": given.share}
        if given.share < 1:
            mixture[f"source={'|'.join(given.others)}"] = 1 - given.share
        stages = json.dumps([{"name": "all", "share": 1.0, "end_rate": 0.05, "mixture": mixture}])
        place = ("--packed", folder / "packed", "--tokenizer", folder / "tokenizer", "--probe", folder / "probe.jsonl")
        own = [*settings, "--set", f"stages={stages}", "--set", f"seed={seed}"]
        command(run / "train.log", "codeft_training", "train", *place, "--output", run, *own)
        score = ("--benchmark", "composed", "--checkpoint", run / "checkpoint", "--output", run / "composed")
        command(run / "composed.log", "codeft_eval", "run", *score, *(["--limit", given.limit] if given.limit else []))
    result = json.loads((run / "result.json").read_text())
    bits = {name.removeprefix("probe_bits_per_byte_"): round(value, 5) for name, value in result["probe"].items()}
    passes = {name: round(value, 2) for name, value in result["stages"][0]["passes"].items() if "pool-" in name}
    rates = pass_rates(read_samples(run / "composed"))
    found = {"bits_per_byte": bits, "composed": sum(rates.values()) / len(rates), "passes": passes}
    found |= {name: result[name] for name in ("num_parameters", "num_tokens_seen")}
    print(
        f"{way} {seed}: {found['bits_per_byte']}, {found['composed']:.2f}, {time.monotonic() - start:.0f} s", flush=True
    )
    return found, rates


def compare(runs, seeds, ours, theirs):
    """Return the differences of two ways: bits per byte by seed, exercises by item."""
    domains = runs[ours, seeds[0]][0]["bits_per_byte"]
    gaps = {
        domain: [runs[ours, s][0]["bits_per_byte"][domain] - runs[theirs, s][0]["bits_per_byte"][domain] for s in seeds]
        for domain in domains
    }
    means = [
        {item: float(np.mean([runs[way, s][1][item] for s in seeds])) for item in runs[way, seeds[0]][1]}
        for way in (ours, theirs)
    ]
    found = asdict(paired(*means))
    kept = ("n", "difference", "detectable", "p_value")
    bits = {domain: interval(values) for domain, values in gaps.items()}
    return {"bits_per_byte": bits, "composed": {name: found[name] for name in kept}}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a mixture")
    parser.add_argument("--pool", nargs="+", required=True, metavar="SOURCE", help="taken for instructions")
    parser.add_argument("--share", type=float, default=0.3, help="of a run's tokens that are of the pool")
    parser.add_argument("--base", type=Path, help="checkpoint to fine-tune on the pool alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--workers", type=int, default=3, help="runs at once")
    parser.add_argument("--probe", type=Path, help="JSON lines of more texts with domain, context and text")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the recipe")
    parser.add_argument("--limit", type=int, help="only the first exercises")
    parser.add_argument("--only-select", action="store_true", help="end with the outcomes and their CPU-seconds")
    parser.add_argument("--no-tests", action="store_true", help="select without running own tests")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    given = parser.parse_args()
    given.share = 1.0 if given.base else given.share
    return given


def prepare(given, folder):
    """Write corpus, texts, tokenizer and rows, and return the facts about the pool and the options of a recipe."""
    shards = [given.corpus / shard["path"] for shard in Corpus(given.corpus).manifest()["shards"]]
    corpus = pl.concat([pl.read_parquet(path) for path in shards])
    pool = corpus.filter(pl.col("source").is_in(given.pool))
    outcomes = select(pool, folder / "selection.parquet", runs_tests=not given.no_tests)
    divided = divide(pool, outcomes)
    facts = {"documents": len(pool), "selected": int(divided["is_selected"].sum()), "bytes": divided["size"].sum()}
    facts["selected_bytes"] = divided.filter("is_selected")["size"].sum()
    facts["dropped"] = dict(outcomes["drop_reason"].drop_nulls().value_counts().sort("drop_reason").iter_rows())
    print(facts, flush=True)
    given.others = sorted(set(corpus["source"]) - set(given.pool))
    chosen = FINETUNING | {"base_model": given.base} if given.base else SETTINGS
    changes = [f"{name}={value}" for name, value in chosen.items()] + given.set
    recipe = "qwen2.5-0.5b-sft" if given.base else "h200-10min"
    settings = ["--recipe", recipe, *(part for change in changes for part in ("--set", change))]
    if not (given.only_select or (folder / "packed" / "manifest.json").is_file()):
        write_corpus(corpus, divided, folder / "corpus")
        write_probe(divided, folder / "probe.jsonl", given.probe)
        stages = ["--set", 'stages=[{"name": "all", "share": 1.0}]']
        place, own = ("--corpus", folder / "corpus"), [*settings, *stages]
        command(
            folder / "tokenizer.log", "codeft_training", "tokenizer", *place, "--output", folder / "tokenizer", *own
        )
        rows = ("--tokenizer", folder / "tokenizer", "--output", folder / "packed")
        command(folder / "pack.log", "codeft_training", "pack", *place, *rows, *own)
    return facts, settings


def main():
    given, start = parse(), time.monotonic()
    folder = given.output.with_suffix("")
    facts, settings = prepare(given, folder)
    if given.only_select:
        return 0
    ready, jobs = time.monotonic(), [(way, seed) for seed in given.seeds for way in WAYS]
    with ThreadPoolExecutor(given.workers) as workers:
        found = workers.map(lambda job: measure(given, folder, settings, *job), jobs)
        runs = dict(zip(jobs, found, strict=True))
    first = runs[jobs[0]][0]
    report = {
        "model": f"{first['num_parameters'] / 1e6:.1f}M parameters, {first['num_tokens_seen']:,} tokens, "
        + (f"fine-tuned from {given.base.name}" if given.base else "from scratch"),
        "pool": facts | {"sources": given.pool, "share": given.share},
        "seeds": given.seeds,
        "ways": {way: {str(seed): runs[way, seed][0] for seed in given.seeds} for way in WAYS},
        "differences": {
            f"{SELECTED} minus {other}": compare(runs, given.seeds, SELECTED, other) for other in (ALL, DRAWN)
        },
        "seconds": {"prepared": round(ready - start, 1), "trained": round(time.monotonic() - ready, 1)},
    }
    write_atomically(given.output, json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["differences"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
