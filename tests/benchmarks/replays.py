"""Replays published completions and compares each verdict with the published one.

    python tests/benchmarks/replays.py --model NAME --benchmark BENCHMARK --generations FILE --output FOLDER

Prints the line of ``codeft_eval/data/reference_replays.csv`` for these completions and tests, and, on standard error,
each item whose verdict differs, with our reason.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoreboard.reference import published_verdicts
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import replay
from codeft_eval.scoring.samples import pass_rates, read_samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--benchmark", required=True, choices=sorted(BENCHMARKS))
    parser.add_argument("--generations", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    theirs = published_verdicts(options.model, options.benchmark)
    if not theirs:
        parser.error(f"reference_verdicts.csv has no verdicts of {options.model!r} for {options.benchmark!r}")
    score = replay(options.generations, BENCHMARKS[options.benchmark], options.output, Options())
    samples = list(read_samples(options.output))
    ours = pass_rates(samples)
    differing = [item for item in ours if ours[item] != theirs[item]]
    for sample in samples:
        if sample["task_id"] in differing:
            print(sample["task_id"], sample["verdict"], sample["reason"], sample["detail"][:100], file=sys.stderr)
    facts = (options.model, score.benchmark, score.version, score.data_sha256, len(ours), len(differing))
    csv.writer(sys.stdout).writerow([*facts, score.model_hash.removeprefix("replay:")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
