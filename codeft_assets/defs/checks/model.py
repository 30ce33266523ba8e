"""Checks of the model and its scores: training learned, and the harness separates right from wrong programs."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from codeft_assets.defs.assets.held_out import benchmark_environment
from codeft_assets.defs.assets.model import checkpoint
from codeft_assets.defs.assets.scores import PRESENT, score_key
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_eval.benchmarks.benchmark import Benchmark


@dg.asset_check(
    asset=checkpoint,
    blocking=True,
    description="Every loss is a number, and held-out documents are likelier after training than before.",
)
def loss_falls(workspace: Workspace) -> dg.AssetCheckResult:
    """Read the run's metrics."""
    path = workspace.store.folder("model/checkpoint") / "metrics.jsonl"
    return check_losses([json.loads(line) for line in path.read_text().splitlines()])


def check_losses(entries: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Return whether a run learned, by its metrics.

    Training losses are of other documents at each step: they rise with the annealing phase's, and hardly move while a
    good model is fine-tuned. Held-out documents are the same at each validation, also at the one before the first step.
    Without any, the mean of the first tenth of the training losses is compared with that of the last; a single loss has
    nothing to be compared with.
    """
    found = {name: [entry[name] for entry in entries if name in entry] for name in ("loss", "validation_loss")}
    held_out, training = found["validation_loss"], found["loss"]
    compared = held_out if len(held_out) > 1 else training
    size = 1 if compared is held_out else max(len(compared) // 10, 1)
    ends = {"first_loss": compared[:size], "final_loss": compared[-size:]} if len(compared) > 1 else {}
    means = {name: sum(values) / size for name, values in ends.items()}
    is_finite = all(math.isfinite(loss) for loss in (*held_out, *training))
    has_fallen = not means or means["final_loss"] < means["first_loss"]
    documents = "held-out documents" if compared is held_out else "training documents"
    return dg.AssetCheckResult(
        passed=bool(training or held_out) and is_finite and has_fallen,
        metadata=means | {"compared": documents if means else "a single loss: nothing to compare"},
    )


def build_harness_check(benchmark: Benchmark) -> dg.AssetChecksDefinition:
    """Return the check that the harness itself separates right from wrong programs."""

    @dg.asset_check(
        asset=score_key(benchmark),
        name="harness_is_sane",
        blocking=True,
        description="Canonical solutions pass and empty completions fail, in the sandbox that judged the model.",
    )
    def harness_is_sane(workspace: Workspace) -> dg.AssetCheckResult:
        output = workspace.store.folder(f"scores/{benchmark.name}") / "check"
        command = [sys.executable, "-m", "codeft_eval", "check", "--benchmark", benchmark.name, "--output", str(output)]
        surroundings = os.environ | benchmark_environment(workspace)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
        said = (done.stdout + done.stderr)[-2000:]
        return dg.AssetCheckResult(
            passed=done.returncode == 0, metadata={"said": dg.MetadataValue.md(md.excerpt(said))}
        )

    return harness_is_sane


HARNESS_CHECKS = [build_harness_check(benchmark) for benchmark in PRESENT]
