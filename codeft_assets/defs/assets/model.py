"""Tokenizer and checkpoint: both made by ``codeft_training`` in a process of its own."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.base.files import write_atomically
from codeft_assets.curation.corpus.mixture import VALIDATION
from codeft_assets.defs.assets.corpus import mixture, packed, packed_folder
from codeft_assets.defs.assets.held_out import BENCHMARK, KEY, held_out
from codeft_assets.defs.automation.rules import on_schedule
from codeft_assets.defs.in_training_scores import SCORED_IN_TRAINING, InTrainingScores
from codeft_assets.defs.live import observing
from codeft_assets.defs.run_stage import GPU_POOL, OWNERS, program_result
from codeft_assets.defs.settings import RecipeSettings
from codeft_assets.defs.web_ui.plots import line_plot
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.corpus import build_lineage
from codeft_assets.stages.eval_texts import MAX_PROMPTS, choose_code, eval_text_lines
from codeft_assets.store.retention import keep_checkpoint
from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.scoring.in_training import pass_at_1_key
from codeft_training.data.tokenizer import SAMPLE_MEGABYTES
from codeft_training.measure.eval_texts import BITS_PREFIX


class TokenizerConfig(RecipeSettings):
    """The recipe whose base model's tokenizer or vocabulary size is used."""

    sample_megabytes: int = Field(
        default=SAMPLE_MEGABYTES, ge=1, description="Text to learn a vocabulary from, drawn from all sources"
    )


@dg.asset(
    key=["model", "tokenizer"],
    deps=[mixture],
    group_name="model",
    kinds={"huggingface"},
    owners=OWNERS,
    code_version=code_version_of("codeft_training.commands:tokenizer"),
    automation_condition=on_schedule(),
)
def tokenizer(
    context: dg.AssetExecutionContext,
    config: TokenizerConfig,
    workspace: Workspace,
    pipes: dg.PipesSubprocessClient,
) -> dg.MaterializeResult:
    """A byte-level BPE tokenizer trained on a sample of the corpus, with ChatML, infilling and thinking tokens.

    A recipe that fine-tunes a base model takes over that model's tokenizer instead.
    Bytes per token by language say how well it fits each.
    """
    store = workspace.store
    command = [sys.executable, "-m", "codeft_training", "tokenizer"]
    command += ["--corpus", str(store.local_table("corpus/mixture"))]
    command += ["--output", str(store.folder("model/tokenizer"))]
    recipe = workspace.chosen_recipe(config.recipe.value, config.overrides.texts())
    command += ["--recipe-json", json.dumps(recipe.record())]
    command += ["--sample-megabytes", str(config.sample_megabytes)]
    return program_result(context, pipes, command)


@dg.asset(
    key=["model", "checkpoint"],
    deps=[packed, tokenizer, held_out],
    group_name="model",
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=code_version_of("codeft_training.commands:train"),
    automation_condition=on_schedule(),
)
def checkpoint(
    context: dg.AssetExecutionContext,
    config: RecipeSettings,
    workspace: Workspace,
    pipes: dg.PipesSubprocessClient,
) -> dg.MaterializeResult:
    """The model: a folder that ``from_pretrained`` loads, with tokenizer, chat template and a card of its lineage.

    Training runs in its own process. Killed at any moment, the next materialization goes on from the last whole state
    and ends in the same weights; a finished run of the same recipe on the same corpus is not run again. While it
    trains, bits per byte of held-out competition math, held-out code and two benchmarks' solutions show its progress,
    and where the run is long enough to afford them, how many of the shortest items of each benchmark pass.
    """
    recipe = workspace.chosen_recipe(config.recipe.value, config.overrides.texts())
    output = workspace.store.folder("model/checkpoint")
    lineage = output / "lineage.json"
    command = [sys.executable, "-m", "codeft_training", "train", "--packed", str(packed_folder(workspace))]
    command += ["--tokenizer", str(workspace.store.folder("model/tokenizer")), "--output", str(output)]
    command += ["--recipe-json", json.dumps(recipe.record())]
    command += ["--lineage", str(lineage), "--probe", str(write_eval_texts(workspace, output))]
    num_gpus, num_nodes = workspace.num_gpus, workspace.num_nodes
    command += ["--processes", str(num_gpus)] if num_gpus else []
    scores = InTrainingScores(context)
    client = observing(workspace.program_client(pipes, num_gpus, num_nodes), context, scores.score_entry)
    metrics = output / "metrics.jsonl"
    with workspace.store.lock("model/checkpoint"):
        corpus = _lineage(workspace)
        write_atomically(lineage, json.dumps(corpus))
        done = program_result(
            context,
            client,
            command,
            lambda: _curves(metrics) | _passing(scores.points(metrics)),
            holds_lock=True,
        )
        trained = {"run": _run_facts(output / "result.json")}
        write_atomically(lineage, json.dumps(corpus | trained, indent=1, sort_keys=True))
        keep_checkpoint(output)
    workspace.store.publish()
    return done


def _lineage(workspace: Workspace) -> dict[str, Any]:
    store = workspace.store
    licenses = {name: source.license for name, source in SOURCES.items()}
    lineage = json.loads(build_lineage(store.table("corpus/mixture"), store.table("corpus/ledger"), licenses))
    tables = {table.key: table.manifest().content_hash for table in store.tables()}  # retention keeps these versions
    return lineage | {"tables": tables}


def _run_facts(result: Path) -> dict[str, Any]:
    """Return by what a checkpoint came from the corpus: the recipe, its base, the part of the corpus, the stages."""
    found = json.loads(result.read_text())
    base = {"base_model": found["recipe"]["base_model"]} if "base_model" in found["recipe"] else {}
    names = ("identity", "recipe_hash", "base_hash", "selection", "stages")
    return base | {"recipe": found["recipe"]["name"]} | {name: found[name] for name in names if name in found}


def write_eval_texts(workspace: Workspace, output: Path) -> Path:
    """Write the evaluation texts of a run, and return their file."""
    columns = ["document_id", "domain", "split", "text"]
    validation = workspace.store.table("corpus/mixture").read_parts(columns, pl.col("split") == VALIDATION)
    documents = choose_code(validation)
    competition = BENCHMARKS[BENCHMARK].read(workspace.store.table(KEY).read().to_dicts(), ())
    path = output / "eval_texts.jsonl"
    continued = {name: _solved(load_items(BENCHMARKS[name])) for name in SCORED_IN_TRAINING}
    path.write_text(eval_text_lines(documents, _solved(competition), continued))
    return path


def _solved(items: Iterable[Item]) -> list[tuple[str, str, str]]:
    return [(item.task_id, item.prompt, item.solution) for item in items]


def _curves(path: Path) -> dict[str, Any]:
    """Return the loss curve, and the bits per byte of held-out documents and of the evaluation texts, as plots."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    loss = {"training loss": _points(entries, "loss")}
    validation = {
        name.removeprefix("bits_per_byte_").replace("bits_per_byte", "all"): _points(entries, name)
        for name in _names(entries, "bits_per_byte")
    }
    eval_texts = {name.removeprefix(BITS_PREFIX): _points(entries, name) for name in _names(entries, BITS_PREFIX)}
    plots = {
        "loss": line_plot(loss, title="training loss", x_label="step", y_label="nats a token"),
        "held_out": line_plot(validation, title="held-out documents", x_label="step", y_label="bits a byte"),
    }
    if eval_texts:
        plots["probe"] = line_plot(eval_texts, title="evaluation texts", x_label="step", y_label="bits a byte")
    return plots


def _passing(points: Mapping[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """Return the share of the shortest items that passes, last and as a plot; {} where the run was too short for any.

    A sentence says that it is no score of a benchmark, which is measured on all items of it.
    """
    if not points:
        return {}
    lines = {name: [(float(step), value) for step, value in found] for name, found in points.items()}
    last = {name: found[-1] for name, found in points.items()}
    title = f"the {MAX_PROMPTS} shortest items while training"
    shares = ", ".join(f"{name} {value:.0%} (step {step})" for name, (step, value) in last.items())
    said = f"passed of the {MAX_PROMPTS} shortest items while training: {shares}; all items are scored in scores/*"
    plot = line_plot(lines, title=title, x_label="step", y_label="share that passes")
    shown = {pass_at_1_key(name): value for name, (_, value) in last.items()}
    return shown | {"shortest_items": said, "shortest_items_plot": plot}


def _names(entries: list[dict[str, Any]], prefix: str) -> list[str]:
    return sorted({name for entry in entries for name in entry if name.startswith(prefix)})


def _points(entries: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(entry["step"], entry[name]) for entry in entries if name in entry]
