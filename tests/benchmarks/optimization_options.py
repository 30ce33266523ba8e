"""Measures the options for little, repeated data: the same tiny model at equal tokens, with each of them off and on.

    python tests/benchmarks/optimization_options.py --packed PACKED --device cuda --minutes 3.5 --json options.json

PACKED is a folder written by ``pack``, with the folder of its tokenizer beside it (or ``--tokenizer``); the first
``--unique-tokens`` of its training rows are read again and again, all of its held-out rows are measured. Each variant
is trained with the same seeds as the baseline, and a difference is the mean over seeds of the variant's held-out bits
per byte minus the baseline's, with a 95 % interval (Student, paired by seed): below 0, the option helps. Both are of
the weights that a run keeps, the best ones; ``last`` is of the last step. Without ``--steps`` a few steps of the
baseline are timed first, and all runs get as many as fit the minutes. The file is written again after each run, and no
run begins after the time: what was measured is never lost.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from codeft_assets.base.files import file_hash, write_atomically
from codeft_training.data.packed_rows import PackedRows
from codeft_training.measure.metrics import Metrics
from codeft_training.measure.validation import best_entry
from codeft_training.recipe import PretrainRecipe
from codeft_training.recipes import SMOKE

VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "weight decay 10x": {"weight_decay": 0.5},
    "weight decay 30x": {"weight_decay": 1.5},
    "weight decay 10x, constant": {"weight_decay": 0.5, "weight_decay_schedule": "constant"},
    "weight decay 10x, falling": {"weight_decay": 0.5, "weight_decay_schedule": "falling"},
    "dropout 0.1": {"dropout": 0.1},
    "documents shuffled": {"document_order": "shuffled"},
    "EMA 0.98": {"ema_decay": 0.98},
    "masked inputs 0.12": {"masked_inputs": 0.12},
    "procedural 0.003": {"procedural_fraction": 0.003},
    "all": {"weight_decay": 0.5, "dropout": 0.1, "document_order": "shuffled", "ema_decay": 0.98,
            "masked_inputs": 0.12, "procedural_fraction": 0.003},
}  # fmt: skip
TINY = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "intermediate_size": 48}
SMALL = {"hidden_size": 256, "num_layers": 4, "num_heads": 4, "num_kv_heads": 2, "intermediate_size": 768}
T_QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Of Student's distribution at 97.5 %, by degrees of freedom."""
CALIBRATION_STEPS = 12
RESERVE = 0.15
"""Share of the time for what steps do not take: imports, held-out documents, checkpoints."""


class Silent:
    """Takes what a run reports."""

    def log(self, line: str) -> None: ...

    def observe(self, values: object) -> None: ...

    def materialize(self, metadata: object, data_version: str) -> None: ...


def print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def first_rows(packed: PackedRows, folder: Path, num_rows: int) -> None:
    """Write the first training rows of a packed folder, all in one phase, and its held-out rows as they are."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    shutil.copytree(packed.folder, folder)
    tokens, loss_mask, manifest = (
        packed.tokens("train")[:num_rows],
        packed.loss_mask("train")[:num_rows],
        packed.manifest(),
    )
    tokens.tofile(folder / "train.tokens.bin")
    loss_mask.tofile(folder / "train.loss.bin")
    index = pq.read_table(packed.folder / "train.index.parquet")
    pq.write_table(index.filter(pc.field("row") < num_rows), folder / "train.index.parquet")
    manifest["splits"]["train"] |= {"num_rows": len(tokens), "num_tokens": tokens.size, "num_annealing_rows": 0}
    manifest["files"] = {name: file_hash(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def build_recipe(packed: PackedRows, options: argparse.Namespace) -> PretrainRecipe:
    """Return the baseline: the smoke recipe in the size of this measurement."""
    manifest = packed.manifest()
    context_tokens, on_gpu = manifest["context_tokens"], options.device == "cuda"
    recipe = SMOKE.override(
        **(TINY if options.tiny else SMALL),
        vocab_size=math.ceil(manifest["vocab_size"] / 64) * 64,
        context_tokens=context_tokens,
        batch_rows=max((2**15 if on_gpu else 2**11) // context_tokens, 1),
        bf16=on_gpu,
        validation_rows=256,
        save_every_steps=10**6,
    )
    found = recipe.parse(dict(entry.split("=", 1) for entry in options.set))
    assert isinstance(found, PretrainRecipe)
    return found


def measure(packed: Path, tokenizer: Path, recipe: PretrainRecipe) -> dict[str, float]:
    """Train once and return held-out bits per byte and tokens per second."""
    import torch

    from codeft_training.model import distributed
    from codeft_training.run_spec import TrainingRun
    from codeft_training.train.run import build_callbacks, build_pretrainer
    from codeft_training.train.signals import StopRequest

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        run = TrainingRun(packed=PackedRows(packed), tokenizer=tokenizer, output=Path(name), recipe=recipe, lineage={})
        run.work.mkdir(parents=True)
        context, metrics = distributed.init(), Metrics(run.work, Silent())
        build_pretrainer(run, build_callbacks(run, metrics, StopRequest(), context), context).train()
        entries = metrics.entries()
    best, is_average = best_entry(entries)
    speeds = [entry["tokens_per_second"] for entry in entries if "tokens_per_second" in entry]
    last = [entry["bits_per_byte"] for entry in entries if "bits_per_byte" in entry][-1]
    return {
        "bits_per_byte": best["bits_per_byte"], "kept_step": best["step"], "kept_average": is_average, "last": last,
        "tokens_per_second": statistics.median(speeds),
    }  # fmt: skip


def num_steps(options: argparse.Namespace, recipe: PretrainRecipe, pool: Any, work: Any, num_runs: int) -> int:
    """Return the steps of each run that fit the time, from the speed of as many runs at once as there are workers."""
    if options.steps:
        return options.steps
    brief = recipe.override(max_steps=CALIBRATION_STEPS, log_every_steps=4, validate_every_steps=CALIBRATION_STEPS)
    start = time.monotonic()
    list(pool.map(partial(work), [brief] * options.workers))  # imports, first kernels
    speeds = [found["tokens_per_second"] for found in pool.map(partial(work), [brief] * options.workers)]
    left = options.minutes * 60 * (1 - RESERVE) - (time.monotonic() - start)
    total = left * statistics.mean(speeds) * options.workers
    return max(int(total / num_runs / recipe.data.tokens_per_step), 10)


def interval(differences: list[float]) -> dict[str, Any]:
    """Return mean and 95 % interval of paired differences; no interval from one."""
    mean, num = statistics.fmean(differences), len(differences)
    if num < 2:
        return {"mean": round(mean, 5), "low": None, "high": None, "n": num}
    half = T_QUANTILE.get(num - 1, 1.96) * statistics.stdev(differences) / math.sqrt(num)
    return {"mean": round(mean, 5), "low": round(mean - half, 5), "high": round(mean + half, 5), "n": num}


def summary(found: dict[tuple[str, int], dict[str, float]], variants: list[str]) -> dict[str, Any]:
    """Return each variant's measurements, and its differences from the baseline for the seeds that both have."""
    result: dict[str, Any] = {}
    for name in variants:
        runs = {seed: run for (variant, seed), run in found.items() if variant == name}
        if not runs:
            continue
        both = [seed for seed in sorted(runs) if ("baseline", seed) in found]
        result[name] = {"settings": VARIANTS[name], "seeds": {str(seed): runs[seed] for seed in sorted(runs)}}
        result[name]["mean_bits_per_byte"] = round(statistics.fmean(run["bits_per_byte"] for run in runs.values()), 5)
        for key, label in (("bits_per_byte", "difference"), ("last", "difference_of_last")):
            values = [runs[seed][key] - found["baseline", seed][key] for seed in both]
            if name != "baseline" and values:
                result[name][label] = interval(values)
    return result


class InPlace:
    """A pool of one: this process."""

    def __enter__(self) -> InPlace:
        return self

    def __exit__(self, *error: object) -> None: ...

    map = staticmethod(map)


def runs(
    pool: Any, work: Any, jobs: dict[tuple[str, int], PretrainRecipe], deadline: float
) -> Iterator[tuple[tuple[str, int], dict[str, float]]]:
    """Yield each job and its measurement as they end; none begins after the deadline."""
    if isinstance(pool, InPlace):
        for job, recipe in jobs.items():
            if time.monotonic() < deadline:
                yield job, work(recipe)
        return
    futures = {pool.submit(in_time, work, recipe, time.time() + deadline - time.monotonic()): job
               for job, recipe in jobs.items()}  # fmt: skip
    for future in as_completed(futures):
        if (found := future.result()) is not None:
            yield futures[future], found


def in_time(work: Any, recipe: PretrainRecipe, deadline: float) -> dict[str, float] | None:
    return work(recipe) if time.time() < deadline else None


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, help="default: the folder tokenizer beside the packed one")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--minutes", type=float, default=3.5, help="of the whole measurement")
    parser.add_argument("--steps", type=int, default=0, help="of each run; default: as many as fit the minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unique-tokens", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=0, help="runs at once; default: 4 on a GPU, 1 on a CPU")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="fields of the recipe, for all runs")
    parser.add_argument("--tiny", action="store_true", help="a model that a CPU trains in a second, to test this file")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    options.tokenizer = options.tokenizer or options.packed.parent / "tokenizer"
    options.workers = options.workers or (4 if options.device == "cuda" else 1)
    options.variants = list(dict.fromkeys(["baseline", *options.variants]))
    return options


def main() -> None:
    options, start = parse_options(), time.monotonic()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # also of the workers, before any of them looks
    import multiprocessing

    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no GPU here; use --device cpu")
    whole = PackedRows(options.packed)
    whole.verify()
    if not len(whole.tokens("validation")):
        raise SystemExit(f"{str(options.packed)!r} holds no held-out rows; pack a corpus with a validation split")
    recipe = build_recipe(whole, options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "packed"
        first_rows(whole, folder, math.ceil(options.unique_tokens / recipe.data.context_tokens))
        pool = (
            ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn"))
            if options.workers > 1
            else InPlace()
        )
        with pool:
            measure_all(options, recipe, PackedRows(folder), pool, start)


def measure_all(
    options: argparse.Namespace, recipe: PretrainRecipe, packed: PackedRows, pool: Any, start: float
) -> None:
    """Run every job and write the file after each."""
    import torch

    work = partial(measure, packed.folder, options.tokenizer)
    steps = num_steps(options, recipe, pool, work, len(options.variants) * options.seeds)
    recipe = recipe.override(
        max_steps=steps, log_every_steps=max(steps // 20, 1), validate_every_steps=max(steps // 12, 1)
    )
    jobs = {
        (name, seed): recipe.override(seed=seed, **VARIANTS[name])
        for seed in range(1, options.seeds + 1)  # all variants of a seed before the next
        for name in options.variants
    }
    unique, seen = int(packed.tokens("train").size), steps * recipe.data.tokens_per_step
    result = {
        "command": " ".join(["python", *sys.argv]),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "packed_content_hash": packed.manifest()["content_hash"],
        "recipe": recipe.record(),
        "num_steps": steps,
        "num_tokens": seen,
        "num_unique_tokens": unique,
        "epochs": round(seen / unique, 2),
        "workers": options.workers,
    }
    print_progress(f"{len(jobs)} runs of {steps} steps, {seen:,} tokens: {seen / unique:.1f} passes over {unique:,}")
    found: dict[tuple[str, int], dict[str, float]] = {}
    for job, run in runs(pool, work, jobs, start + options.minutes * 60):
        found[job] = run
        print_progress(f"{job[0]:28} seed {job[1]}: {run['bits_per_byte']:.4f} bits per byte (last {run['last']:.4f})")
        result |= {"num_runs": len(found), "num_runs_wanted": len(jobs), "seconds": round(time.monotonic() - start, 1)}
        result["variants"] = summary(found, options.variants)
        write_atomically(options.json, json.dumps(result, indent=1))
    for name, entry in result.get("variants", {}).items():
        print_progress(f"{name:28} {entry['mean_bits_per_byte']:.4f} {json.dumps(entry.get('difference', {}))}")


if __name__ == "__main__":
    main()
