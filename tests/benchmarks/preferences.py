"""Preference training on one checkpoint: its own judged attempts as pairs, beside the base and beside its control.

    python tests/benchmarks/preferences.py --checkpoint FOLDER --benchmark humaneval composed --output F.json

Draws attempts at composed exercises that may be trained on, judges them, makes pairs, trains by the recipe ``dpo`` and
by its control ``chosen`` (the right completions alone, as many steps), and runs each checkpoint greedily on the
benchmarks. Differences are paired with the base's own run. What is done is not done again.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from codeft_assets.base.files import write_atomically
from codeft_assets.exercises.__main__ import main as write_exercises
from codeft_eval.__main__ import main as evaluate
from codeft_eval.scoring.samples import pass_rates, read_samples
from codeft_eval.scoring.scores import PASS_AT_1, read_score
from codeft_eval.statistics.comparison import paired
from codeft_training.__main__ import main as train_command

PRACTICE = "practice"


def call(program, *arguments):
    """Run a command in this process: importing and opening a device once saves minutes."""
    print("+", program.__module__, *arguments, flush=True)
    if code := program([str(argument) for argument in arguments]):
        raise SystemExit(code)


def score(checkpoint, benchmark, folder, limit):
    """Run a checkpoint greedily, unless its run is there, and return its pass rate and that of each item."""
    if not (folder / "scores.json").is_file():
        call(evaluate, "run", "--benchmark", benchmark, "--checkpoint", checkpoint, "--output", folder, *limit)
    return read_score(folder).metrics[PASS_AT_1], pass_rates(read_samples(folder))


def make_pairs(given, folder):
    exercises, samples = folder / f"{PRACTICE}.jsonl", folder / "attempts"
    drawn = ("--number", given.exercises, "--seed", given.seed)
    call(write_exercises, "--practice", exercises, *drawn)
    os.environ["CODEFT_OWN_BENCHMARKS"] = str(exercises)
    sampling = ("--num-samples", given.n, "--temperature", 0.8, "--top-p", 0.95)
    run = ("--benchmark", PRACTICE, "--checkpoint", given.checkpoint, "--output", samples)
    call(evaluate, "run", *run, *sampling)
    call(evaluate, "pairs", "--runs", samples, "--output", folder / "pairs")
    return json.loads((folder / "pairs" / "pairs.json").read_text())


def train(given, recipe, folder):
    output = folder / recipe.replace("=", "-").replace(",", "-")
    name, *changes = recipe.split(",")
    settings = [part for change in [*given.set, *changes] for part in ("--set", change)]
    pairs = ("--base", given.checkpoint, "--pairs", folder / "pairs" / "pairs.jsonl")
    call(train_command, "prefer", *pairs, "--recipe", name, "--output", output, *settings)
    return output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", help="of the model, in the file; default: the folder's")
    parser.add_argument("--benchmark", nargs="+", default=["humaneval", "composed"])
    parser.add_argument("--recipe", nargs="+", default=["dpo", "chosen"], help="each NAME or NAME,FIELD=VALUE,...")
    parser.add_argument("--exercises", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=77, help="of the exercises; a source has 1")
    parser.add_argument("--n", type=int, default=8, help="attempts at an exercise")
    text = "folder with NAME/greedy of the base, as strategies.py leaves it; default: run it here"
    parser.add_argument("--base-runs", type=Path, help=text)
    parser.add_argument("--limit", type=int, help="only the first items of the benchmarks")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of all recipes")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    given = parser.parse_args()
    limit = ("--limit", given.limit) if given.limit else ()
    start, folder = time.monotonic(), given.output.with_suffix("")
    report = {"model": given.name or given.checkpoint.resolve().name, "pairs": make_pairs(given, folder), "models": {}}
    runs = given.base_runs or folder / "base"
    base = {name: score(given.checkpoint, name, runs / name / "greedy", limit) for name in given.benchmark}
    report["base"] = {name: asdict(rate) for name, (rate, _) in base.items()}
    for recipe in given.recipe:
        output = train(given, recipe, folder)
        trained = json.loads((output / "result.json").read_text())
        names = ("recipe", "last_step", "num_pairs_trained", "num_tokens_seen", "held_out", "first", "last", "seconds")
        found = {name: trained[name] for name in names} | {"scores": {}}
        for name in given.benchmark:
            rate, items = score(output / "checkpoint", name, output / "scores" / name, limit)
            found["scores"][name] = {"pass_at_1": asdict(rate), "against_base": asdict(paired(items, base[name][1]))}
        report["models"][recipe] = found
        report["seconds"] = round(time.monotonic() - start, 1)
        write_atomically(given.output, json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: found["scores"] for name, found in report["models"].items()}, indent=1)[:4000])
    return 0


if __name__ == "__main__":
    sys.exit(main())
