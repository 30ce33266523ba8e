"""Measures the cost of evaluation in training: the smoke recipe on the embedded sample, with and without it at once.

    python tests/benchmarks/in_training_evaluation.py --json

``probe_fraction`` is the evaluation's share of the run by its own clock; ``cpu_ratio`` the CPU seconds of the whole
process with it over those without: the two run side by side, a core each, since one after the other the machine's own
speed differed by more than a tenth between them. ``grading_seconds`` is the time in which the shell's process graded
the completions meanwhile; the run does not wait for it. The weights must be the same in every bit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from codeft_assets.definitions import defs
from codeft_assets.defs.assets.model import write_eval_texts
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoring.in_training import PASS_AT_1, grade_completions
from codeft_training.measure.samples import COMPLETIONS

TARGET = 0.05
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def build(home: Path) -> Workspace:
    """Makes the sample's corpus, tokenizer and packed rows."""
    workspace = Workspace(root=str(home), profile="sample", workers=1)
    groups = dg.AssetSelection.groups("sources", "quality", "dedup", "decontamination", "corpus", "model")
    keys = (groups - dg.AssetSelection.assets(["model", "checkpoint"])).resolve(defs.resolve_asset_graph())
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    resources = {"workspace": workspace, "pipes": program_client()}
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(instance=instance, resources=resources, raise_on_error=True)
    return workspace


def train_both(workspace: Workspace, outputs: dict[Path, Path | None]) -> list[tuple[dict, float]]:
    """For each output folder, with its evaluation texts if it has any: the run's result and the CPU seconds it took."""
    store = workspace.store
    running = []
    for output, eval_texts in outputs.items():
        command = [sys.executable, "-m", "codeft_training", "train", "--output", str(output), "--recipe", "smoke"]
        command += ["--packed", str(store.folder("corpus/packed") / "rows")]
        command += ["--tokenizer", str(store.folder("model/tokenizer"))]
        command += ["--probe", str(eval_texts)] if eval_texts else []
        running.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=sys.stderr))
    found = []
    for process, output in zip(running, outputs, strict=True):
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"{output.name}: the training ended with status {status}"
        found.append((json.loads((output / "result.json").read_text()), usage.ru_utime + usage.ru_stime))
    return found


def grade(output: Path) -> tuple[list[int], list[float], float]:
    """The steps at which completions were written, the share that passed of each, and the seconds this took."""
    entries = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    written = [entry for entry in entries if COMPLETIONS in entry]
    start = time.monotonic()
    passed = [grade_completions(BENCHMARKS["embedded"], entry[COMPLETIONS]) for entry in written]
    return (
        [entry["step"] for entry in written],
        [found[PASS_AT_1] for found in passed],
        round(time.monotonic() - start, 2),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="codeft-eval-texts-") as folder:
        workspace = build(Path(folder) / "home")
        eval_texts = write_eval_texts(workspace, Path(folder))
        outputs = {Path(folder) / "plain": None, Path(folder) / "evaluated": eval_texts}
        (plain, plain_seconds), (evaluated, evaluated_seconds) = train_both(workspace, outputs)
        num_texts = len(eval_texts.read_text().splitlines())
        steps, passed, grading = grade(Path(folder) / "evaluated")
    found = {
        "probe_fraction": round(evaluated["probe_seconds"] / evaluated["seconds"], 4),
        "cpu_ratio": round(evaluated_seconds / plain_seconds, 4),
        "run_seconds": [plain["seconds"], evaluated["seconds"]],
        "num_texts": num_texts,
        "completed_at_steps": steps,
        "pass_at_1": passed,
        "grading_seconds": grading,
        "domains": sorted(evaluated["probe"]),
        "same_weights": plain["weights_hash"] == evaluated["weights_hash"],
    }
    print(f"evaluation: {found['probe_fraction']:.2%} of the run by its own clock (at most {TARGET:.0%}),")
    print(f"CPU seconds with it over without: {found['cpu_ratio']:.3f}; weights the same: {found['same_weights']}")
    if options.json:
        print(json.dumps(found))
    return 0 if found["same_weights"] and found["probe_fraction"] <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
