"""Tokenizer and checkpoint: both made by ``codeft_training`` in a process of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from codeft_assets.defs.automation import on_schedule
from codeft_assets.defs.corpus import mixture, packed, packed_folder
from codeft_assets.defs.live import observing
from codeft_assets.defs.plots import line_plot
from codeft_assets.defs.shell import GPU_POOL, OWNERS, program_result
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages import lineage_of
from codeft_training.recipes import RECIPES, find_recipe


class TokenizerConfig(dg.Config):
    """How many tokens there are, or whose."""

    recipe: str = Field(
        default="smoke",
        description=f"Its base model's tokenizer or its vocabulary size is used: one of {sorted(RECIPES)}",
    )


@dg.asset(
    key=["model", "tokenizer"],
    deps=[mixture],
    group_name="model",
    kinds={"huggingface"},
    owners=OWNERS,
    code_version="1",
    automation_condition=on_schedule(),
)
def tokenizer(
    context: dg.AssetExecutionContext,
    config: TokenizerConfig,
    workspace: Workspace,
    pipes: dg.PipesSubprocessClient,
) -> dg.MaterializeResult:
    """A byte-level BPE tokenizer trained on the corpus, with ChatML turns, fill-in-the-middle and thinking tokens.

    A recipe that fine-tunes a base model takes over that model's tokenizer instead.
    Bytes per token by language say how well it fits each.
    """
    store = workspace.store
    command = [sys.executable, "-m", "codeft_training", "tokenizer", "--corpus", store.table("corpus/mixture").path()]
    command += ["--output", str(store.folder("model/tokenizer"))]
    recipe = RECIPES[config.recipe]
    command += ["--base-model", recipe.base_model] if recipe.base_model else ["--vocab-size", str(recipe.vocab_size)]
    return program_result(context, pipes, command)


class CheckpointConfig(dg.Config):
    """Which recipe, and what to change in it."""

    recipe: str = Field(default="smoke", description=f"One of {sorted(RECIPES)}")
    overrides: dict[str, str] = Field(
        default_factory=dict, description="Fields of the recipe to replace, for example max_steps: '300'"
    )


@dg.asset(
    key=["model", "checkpoint"],
    deps=[packed, tokenizer],
    group_name="model",
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version="1",
    automation_condition=on_schedule(),
)
def checkpoint(
    context: dg.AssetExecutionContext,
    config: CheckpointConfig,
    workspace: Workspace,
    pipes: dg.PipesSubprocessClient,
) -> dg.MaterializeResult:
    """The model: a folder that ``from_pretrained`` loads, with tokenizer, chat template and a card of its lineage.

    Training runs in its own process. Killed at any moment, the next materialization goes on from the last whole state
    and ends in the same weights; a finished run of the same recipe on the same corpus is not run again.
    """
    recipe = find_recipe(config.recipe, config.overrides)
    output = workspace.store.folder("model/checkpoint")
    lineage = output / "lineage.json"
    lineage.write_text(_lineage(workspace))
    command = [sys.executable, "-m", "codeft_training", "train", "--packed", str(packed_folder(workspace))]
    command += ["--tokenizer", str(workspace.store.folder("model/tokenizer")), "--output", str(output)]
    command += ["--recipe", recipe.name, "--lineage", str(lineage)]
    command += [part for field, value in config.overrides.items() for part in ("--set", f"{field}={value}")]
    client = observing(pipes, context)
    return program_result(context, client, command, lambda: _curves(output / "metrics.jsonl"))


def _lineage(workspace: Workspace) -> str:
    store = workspace.store
    fates = store.table("corpus/ledger").read(["source", "fate"])
    licenses = {name: source.license for name, source in SOURCES.items()}
    return lineage_of(store.table("corpus/mixture"), fates, licenses)


def _curves(path: Path) -> dict[str, Any]:
    """Return the loss curve and the held-out bits per byte as plots."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    loss = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    held_out = [entry for entry in entries if "bits_per_byte" in entry]
    names = sorted({name for entry in held_out for name in entry if name.startswith("bits_per_byte")})
    bits = {
        name.removeprefix("bits_per_byte_").replace("bits_per_byte", "all"): [
            (entry["step"], entry[name]) for entry in held_out if name in entry
        ]
        for name in names
    }
    return {
        "loss": line_plot({"training loss": loss}, title="training loss", x_label="step", y_label="nats a token"),
        "held_out": line_plot(bits, title="held-out documents", x_label="step", y_label="bits a byte"),
    }
