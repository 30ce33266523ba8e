"""Scores and the scoreboard: made by ``codeft_eval`` in a process of its own."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import Field

from codeft_assets.base.files import file_hash, write_atomically
from codeft_assets.defs.assets.decontamination import matches
from codeft_assets.defs.assets.held_out import HAS_SOURCE, benchmark_environment, held_out
from codeft_assets.defs.assets.model import checkpoint
from codeft_assets.defs.automation.rules import on_checkpoint_change
from codeft_assets.defs.run_stage import GPU_POOL, OWNERS, in_parts, program_result
from codeft_assets.defs.settings import Settings
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.catalog import write_catalog
from codeft_eval.benchmarks.benchmark import ALL_PROTOCOLS, CHAT, Benchmark
from codeft_eval.benchmarks.catalogue import all_benchmarks, is_runnable
from codeft_eval.generation.checkpoints import checkpoint_hash

PRESENT = [entry for entry in all_benchmarks().values() if (HAS_SOURCE if entry.data.is_built else is_runnable(entry))]
"""Benchmarks whose data is here: the embedded one, the held-out problems, those whose files are in the folder
CODEFT_BENCHMARKS, and the user's own."""
PROGRAM_VERSION = code_version_of(
    "codeft_eval.commands:run", "codeft_eval.sandbox.python.worker:main", "codeft_eval.sandbox.native.worker:main"
)
"""Of generation and grading, with the two programs that the sandbox starts by name."""
_CHAT_TOO = "A checkpoint whose tokenizer has a chat template is scored by a chat too, in the folder chat. "


def score_key(benchmark: Benchmark) -> dg.AssetKey:
    """Return the key of a benchmark's scores."""
    return dg.AssetKey(["scores", benchmark.name])


def score_version(benchmark: Benchmark) -> str:
    """Return the code version of a benchmark's scores; a user's own files are part of it by their content."""
    own = [benchmark.module_sha256, *(file_hash(Path(data.path)) for data in [benchmark.data] if data.path)]
    return "-".join([benchmark.name, str(benchmark.version), PROGRAM_VERSION, *(text[:12] for text in own if text)])


class ScoreConfig(Settings):
    """The number of items, and of programs that share them."""

    limit: int = Field(default=0, ge=0, description="Only the first items, for a quick look. 0: all")
    parts: int = Field(default=1, ge=1, description="Programs of the Ray cluster that generate and judge at a time")


def build_score_asset(benchmark: Benchmark) -> dg.AssetsDefinition:
    """Return the scores asset of one benchmark."""

    @dg.asset(
        key=score_key(benchmark),
        deps=[checkpoint, *([held_out] if benchmark.data.is_built else [])],
        group_name="scores",
        kinds={"pytorch"},
        owners=OWNERS,
        pool=GPU_POOL,
        code_version=score_version(benchmark),
        automation_condition=on_checkpoint_change(),
        description=f"{benchmark.title}: one row is an item with the model's completion and its verdict.\n\n"
        f"{benchmark.protocol}. {_CHAT_TOO if benchmark.chat else ''}Programs run in a sandbox and are judged outside "
        f"of it; items that could not be scored are counted apart, never as zero.",
    )
    def scores(
        context: dg.AssetExecutionContext,
        config: ScoreConfig,
        workspace: Workspace,
        pipes: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult:
        store = workspace.store
        command = [sys.executable, "-m", "codeft_eval", "run", "--benchmark", benchmark.name]
        command += ["--protocol", ALL_PROTOCOLS]
        command += ["--checkpoint", str(store.folder("model/checkpoint") / "checkpoint")]
        command += ["--limit", str(config.limit)] if config.limit else []
        client, env = workspace.program_client(pipes), benchmark_environment(workspace)
        num_parts = 1 if benchmark.lm_eval_task else config.parts  # lm-eval runs its own tasks whole
        parts = in_parts(
            *(context, client, num_parts),
            lambda folder, number: [*command, "--output", str(folder), "--part", f"{number + 1}/{num_parts}"],
            env=env,
        )
        command += ["--parts", *map(str, parts)] if parts else []
        command += ["--output", str(store.folder(f"scores/{benchmark.name}"))]
        return program_result(context, client, command, env=env)

    return scores


@dg.asset(
    key=["scores", "reference"],
    group_name="scores",
    kinds={"csv"},
    owners=OWNERS,
    code_version=code_version_of("codeft_eval.commands:reference"),
)
def reference(
    context: dg.AssetExecutionContext, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Published scores of Qwen 2.5 and other small models, each with its source and protocol."""
    command = [sys.executable, "-m", "codeft_eval", "reference"]
    command += ["--output", str(workspace.store.folder("scores/reference"))]
    return program_result(context, pipes, command)


class MeasureConfig(Settings):
    """Which reference models to measure."""

    models: dict[str, str] = Field(
        default={"Qwen2.5-Coder-0.5B": "Qwen/Qwen2.5-Coder-0.5B"},
        description="Name as in the published table: a folder with its weights, or its id on the Hub",
    )
    limit: int = Field(default=0, ge=0, description="Only the first items, for a quick look. 0: all")

    def check(self, workspace: Workspace) -> None:
        """Check that there is a model to measure.

        Raises:
            ValueError: there is none.
        """
        if not self.models or not all(self.models.values()):
            raise ValueError(f"models {self.models}: name at least one, each with its folder or its id on the Hub")


@dg.asset(
    key=["scores", "reference_measured"],
    deps=[held_out],
    group_name="scores",
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=PROGRAM_VERSION,
)
def reference_measured(
    context: dg.AssetExecutionContext, config: MeasureConfig, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Qwen 2.5's scores by our own harness, under exactly our protocol: one row is a model on a benchmark.

    Weights come from a folder or, in the full profile, from the Hub. Where they cannot be had the row says why, and the
    scoreboard shows the published figure, called published.
    """
    command = [sys.executable, "-m", "codeft_eval", "measure", "--output", str(_measured_folder(workspace))]
    command += ["--model", *(f"{name}={location}" for name, location in config.models.items())]
    command += ["--benchmark", *(benchmark.name for benchmark in PRESENT), "--protocol", ALL_PROTOCOLS]
    command += ["--limit", str(config.limit)] if config.limit else []
    command += ["--local-only"] if workspace.is_sample else []
    return program_result(context, workspace.program_client(pipes), command, env=benchmark_environment(workspace))


@dg.asset(
    key=["scoreboard"],
    deps=[*(score_key(benchmark) for benchmark in PRESENT), reference, reference_measured, matches],
    group_name="scores",
    kinds={"python"},
    owners=OWNERS,
    code_version=code_version_of("codeft_eval.commands:scoreboard"),
    automation_condition=on_checkpoint_change(),
)
def scoreboard(
    context: dg.AssetExecutionContext, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Our scores beside Qwen 2.5's: each with its interval, its protocol and where the reference comes from.

    A published figure is marked as such and never mixed with one that this harness measured. Beside each score stands
    the one without items that a source document holds. Every checkpoint stays in the history: progress is a curve, and
    items gained and lost since the last one are shown with both completions. The pages are files one can send.
    """
    store = workspace.store
    output = store.folder("scoreboard")
    folders = [store.folder(f"scores/{benchmark.name}") for benchmark in PRESENT]
    command = [sys.executable, "-m", "codeft_eval", "scoreboard", "--output", str(output)]
    command += ["--scores", *map(str, [*folders, *_chat_folders(folders)])]
    command += ["--reference", *_measured_references(_measured_folder(workspace))]
    if store.table("decontamination/matches").exists():
        leaked = output / "leaked.json"
        columns = ["benchmark", "task_id", "document_id", "view"]
        write_atomically(leaked, leaked_items(store.table("decontamination/matches").read(columns)))
        command += ["--leaked", str(leaked)]
    num_tokens = trained_tokens(store.folder("model/checkpoint"), folders[0] / "scores.json")
    command += ["--num-tokens", str(num_tokens)] if num_tokens else []
    result = program_result(context, pipes, command)
    write_catalog(store)
    return result


def leaked_items(found: pl.DataFrame) -> str:
    """Return JSON {benchmark: [items that a source document holds]}; every benchmark that was looked for is there.

    The document that an item was made of is no leak; another one that holds it is.
    """
    names = {benchmark.name: [] for benchmark in PRESENT}
    own = found.filter(pl.col("view") == "document").select("document_id", "task_id")
    others = found.join(own, on=["document_id", "task_id"], how="anti")
    pairs = others.select("benchmark", "task_id").unique().sort("benchmark", "task_id").iter_rows()
    for benchmark, task_id in pairs:
        names.setdefault(benchmark, []).append(task_id)
    return json.dumps(names, indent=1, sort_keys=True)


def trained_tokens(training: Path, scores: Path) -> int | None:
    """Return the tokens that the scored checkpoint was trained on; None when another checkpoint lies there now."""
    result = training / "result.json"
    if not (result.is_file() and scores.is_file()):
        return None
    scored = json.loads(scores.read_text())["model_hash"]
    return (
        json.loads(result.read_text())["num_tokens_seen"]
        if checkpoint_hash(training / "checkpoint") == scored
        else None
    )


def _measured_folder(workspace: Workspace) -> Path:
    return workspace.store.folder("scores/reference_measured")


def _measured_references(folder: Path) -> list[str]:
    present = {benchmark.name for benchmark in PRESENT}
    own = [path.parent for path in sorted(folder.glob("*/*/scores.json")) if path.parts[-2] in present]
    return [f"{scores.relative_to(folder).parts[0]}={scores}" for scores in [*own, *_chat_folders(own)]]


def _chat_folders(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of the chats' scores that stand beside those of the benchmarks' own protocols."""
    return [folder / CHAT for folder in folders if (folder / CHAT / "scores.json").is_file()]


SCORE_ASSETS = [*map(build_score_asset, PRESENT), reference, reference_measured, scoreboard]
