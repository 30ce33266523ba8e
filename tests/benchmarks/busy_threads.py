"""A training's speed beside busy processes, with OpenMP's own waiting and with ours, one after the other, in one call.

    python tests/benchmarks/busy_threads.py --packed FOLDER --tokenizer FOLDER [--busy 2] [--rounds 3] [--json]

The folders are those of a run, `.codeft/files/corpus/packed/rows` and `.codeft/files/model/tokenizer`. A training has
60 steps of the recipe smoke; its speed is that of the last twenty, alone (0 busy processes) and beside ``--busy``.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = {"own": "300000", "ours": "10000"}
STEPS = ("max_steps=60", "log_every_steps=20", "validate_every_steps=1000", "save_every_steps=1000")


@contextlib.contextmanager
def busy(number):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def tokens_per_second(packed, tokenizer, spins):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "codeft_training", "train", "--packed", packed, "--tokenizer", tokenizer]
        command += ["--recipe", "smoke", "--output", str(Path(folder) / "out")]
        command += [word for step in STEPS for word in ("--set", step)]
        environment = os.environ | {"GOMP_SPINCOUNT": spins}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(re.findall(r"([\d,]+) tokens/s", done.stderr)[-1].replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for number in (0, options.busy):
        speeds = {name: [] for name in SETTINGS}
        with busy(number):
            for _ in range(options.rounds):
                for name, spins in SETTINGS.items():
                    speeds[name].append(tokens_per_second(options.packed, options.tokenizer, spins))
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        found[f"{number} busy"] = medians | {"ratio": round(medians["ours"] / medians["own"], 2)}
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {values}" for name, values in found.items()))


if __name__ == "__main__":
    main()
