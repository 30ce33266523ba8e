"""Strategies at inference on one checkpoint: each beside its control at equal tokens, and beside the greedy attempt.

    python tests/benchmarks/strategies.py --checkpoint FOLDER --benchmark humaneval composed --n 20 --output F.json

Runs the checkpoint greedily and with ``--n`` samples (temperature 0.8, top-p 0.95), then lets each strategy choose
among these attempts. The file holds what ``codeft_eval solve`` writes, a benchmark each, with the seconds; scores and
answers stay in a folder beside it, so a run that was stopped goes on. ``python -m tests.papers`` puts files that lie in
``docs/measured`` into docs/papers.md. HumanEval.jsonl lies in ``CODEFT_BENCHMARKS``.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from codeft_assets.base.files import write_atomically
from codeft_eval.benchmarks.catalogue import get_benchmark
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from codeft_eval.scoring.strategy_runs import FILE, results_table, solve_runs
from codeft_eval.strategies.table import STRATEGIES

TEMPERATURE, TOP_P = 0.8, 0.95


def measure(checkpoint, name, folder, options, *, strategies, num_samples):
    """Return one benchmark's strategies, as the file holds them."""
    benchmark, start = get_benchmark(name), time.monotonic()
    sampled = replace(options, num_samples=num_samples, temperature=TEMPERATURE, top_p=TOP_P)
    runs = {folder / "greedy": options, folder / "samples": sampled}
    for output, chosen in runs.items():
        run_checkpoint(checkpoint, benchmark, output, chosen)
    drawn = time.monotonic()
    results = solve_runs([*runs], strategies, folder / "strategies", options, checkpoint=checkpoint)
    print(f"\n{name}\n{results_table(results)}", flush=True)
    found = json.loads((folder / "strategies" / f"{FILE}.json").read_text())
    seconds = {"runs": round(drawn - start, 1), "strategies": round(time.monotonic() - drawn, 1)}
    return found | {"seconds": seconds}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", help="of the model, in the file; default: the folder's")
    parser.add_argument("--benchmark", nargs="+", default=["humaneval"])
    parser.add_argument("--strategy", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--n", type=int, default=20, help="samples of each item, besides the greedy attempt")
    parser.add_argument("--limit", type=int, help="only the first items")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    given = parser.parse_args(arguments)
    options = Options(limit=given.limit, batch_size=given.batch_size, log=lambda text: print(text, flush=True))
    report = {
        "model": given.name or given.checkpoint.resolve().name,
        "versions": {name: version(name) for name in ("torch", "transformers", "lm_eval")},
        "benchmarks": {},
    }
    for name in given.benchmark:
        folder = given.output.with_suffix("") / name
        report["benchmarks"][name] = measure(
            given.checkpoint, name, folder, options, strategies=given.strategy, num_samples=given.n
        )
        write_atomically(given.output, json.dumps(report, indent=1) + "\n")  # what is measured is kept
    return 0


if __name__ == "__main__":
    sys.exit(main())
