"""Checks of the model and its scores: training learned, and the harness separates right from wrong programs."""

import json
import math
import os
import subprocess
import sys

import dagster as dg

from codeft_assets.defs.assets.held_out import benchmark_environment
from codeft_assets.defs.assets.model import checkpoint
from codeft_assets.defs.assets.scores import PRESENT, score_key
from codeft_assets.defs.web_ui import metadata as md
from codeft_assets.defs.workspace import Workspace
from codeft_eval.benchmarks.benchmark import Benchmark


@dg.asset_check(asset=checkpoint, blocking=True, description="Every loss is a number, and the last is below the first.")
def loss_falls(workspace: Workspace) -> dg.AssetCheckResult:
    """Read the run's metrics."""
    path = workspace.store.folder("model/checkpoint") / "metrics.jsonl"
    losses = [entry["loss"] for line in path.read_text().splitlines() if "loss" in (entry := json.loads(line))]
    passed = len(losses) > 1 and all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
    return dg.AssetCheckResult(passed=passed, metadata={"first_loss": losses[0], "final_loss": losses[-1]})


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
