"""Preference training, run when it is asked for: the checkpoint's judged attempts, pairs of them, and the model."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from codeft_assets.base.files import write_atomically
from codeft_assets.defs.assets.model import checkpoint
from codeft_assets.defs.assets.scores import PROGRAM_VERSION
from codeft_assets.defs.launchpad import choice, overrides_of
from codeft_assets.defs.run_stage import GPU_POOL, OWNERS, program_result
from codeft_assets.defs.settings import Seed, Settings
from codeft_assets.defs.workspace import Workspace
from codeft_assets.exercises.held_out import practice_items, to_json_lines
from codeft_assets.exercises.subsets import ALL, SUBSETS
from codeft_assets.stages.code_version import code_version_of
from codeft_eval.benchmarks.own_benchmarks import OWN_VARIABLE
from codeft_training.preference_recipe import DPO, PREFERENCE_RECIPES, PreferenceRecipe, find_preference_recipe

GROUP = "preferences"
EXERCISES = "practice"
PreferenceRecipeName = choice("PreferenceRecipeName", PREFERENCE_RECIPES)
SubsetName = choice("SubsetName", SUBSETS)
PreferenceOverrides: Any = overrides_of("PreferenceOverrides", {PreferenceRecipe: ""})


class AttemptsConfig(Settings):
    """The exercises and the attempts at each."""

    exercises: int = Field(default=500, ge=2, description="Composed exercises to solve; none is held out")
    subset: SubsetName = Field(  # type: ignore[valid-type]
        default=SubsetName[ALL.name], description="Of the exercises: basic or all"
    )
    seed: Seed = Field(default=77, description="Of the exercises; that of the source composed-exercises gives its own")
    num_samples: int = Field(default=8, ge=2, description="Attempts at an exercise")
    temperature: float = Field(default=0.8, gt=0, description="Of the attempts")


@dg.asset(
    key=["preferences", "attempts"],
    deps=[checkpoint],
    group_name=GROUP,
    kinds={"pytorch"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=f"{PROGRAM_VERSION}-{code_version_of(practice_items)}",
)
def attempts(
    context: dg.AssetExecutionContext, config: AttemptsConfig, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """The checkpoint's attempts at composed exercises, judged by their tests: one row is an attempt with its verdict.

    The exercises are of compositions that may be trained on: none is of the benchmarks ``composed`` and
    ``composed_basic``, and no benchmark that measures models is among them.
    """
    folder = _folder(workspace, "attempts")
    subset = SUBSETS[config.subset.value]
    items = practice_items(subset, EXERCISES, number=config.exercises, seed=config.seed)
    command = [sys.executable, "-m", "codeft_eval", "run", "--benchmark", EXERCISES, "--output", str(folder)]
    command += ["--checkpoint", str(_trained(workspace)), "--num-samples", str(config.num_samples)]
    command += ["--temperature", str(config.temperature), "--top-p", "0.95"]
    with workspace.store.lock("preferences/attempts"):
        write_atomically(_exercises(workspace), to_json_lines(items))
        return program_result(context, pipes, command, env=_environment(workspace), holds_lock=True)


@dg.asset(
    key=["preferences", "pairs"],
    deps=[attempts],
    group_name=GROUP,
    kinds={"json"},
    owners=OWNERS,
    code_version=code_version_of("codeft_eval.commands:pairs"),
)
def pairs(
    context: dg.AssetExecutionContext, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """One row is a right and a wrong completion of one exercise, both the checkpoint's own.

    The two are of similar length, and over all pairs right ones are no longer than wrong ones: length is not preferred.
    """
    command = [sys.executable, "-m", "codeft_eval", "pairs", "--runs", str(_folder(workspace, "attempts"))]
    command += ["--output", str(_folder(workspace, "pairs"))]
    return program_result(context, pipes, command, env=_environment(workspace))


class PreferredConfig(Settings):
    """A recipe and its changed fields."""

    recipe: PreferenceRecipeName = Field(  # type: ignore[valid-type]
        default=PreferenceRecipeName[DPO.name], description="dpo, or chosen: right completions alone, its control"
    )
    overrides: PreferenceOverrides = Field(  # type: ignore[valid-type]
        default={}, validate_default=True, description="Fields of the recipe to replace, for example beta: 0.3"
    )

    def check(self, workspace: Workspace) -> None:
        """Check that the recipe can be made.

        Raises:
            ValueError: it cannot.
        """
        find_preference_recipe(self.recipe.value, self.overrides.texts())


@dg.asset(
    key=["preferences", "preferred"],
    deps=[checkpoint, pairs],
    group_name=GROUP,
    kinds={"huggingface", "pytorch"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=code_version_of("codeft_training.commands:prefer"),
)
def preferred(
    context: dg.AssetExecutionContext, config: PreferredConfig, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """The checkpoint after direct preference optimization: a folder of its own; ``model/checkpoint`` stays as it is.

    The margin is measured on pairs of items that were held out. Run ``codeft_eval run`` on both folders to see what it
    changed: a margin that grows is no score that grows.
    """
    output = _folder(workspace, "preferred")
    command = [sys.executable, "-m", "codeft_training", "prefer", "--base", str(_trained(workspace))]
    command += ["--pairs", str(_folder(workspace, "pairs") / "pairs.jsonl"), "--output", str(output)]
    command += ["--recipe", config.recipe.value]
    for name, text in config.overrides.texts().items():
        command += ["--set", f"{name}={text}"]
    done = program_result(context, pipes, command)
    write_atomically(output / "lineage.json", json.dumps(_lineage(workspace, output), indent=1, sort_keys=True))
    workspace.store.publish()
    return done


def _lineage(workspace: Workspace, output: Path) -> dict[str, Any]:
    """Return the base's own lineage, with what made this checkpoint of it."""
    base = workspace.store.folder("model/checkpoint") / "lineage.json"
    found = json.loads((output / "result.json").read_text())
    names = ("identity", "recipe_hash", "base_hash", "pairs")
    run = {"recipe": found["recipe"]["name"]} | {name: found[name] for name in names}
    return {"base": json.loads(base.read_text()) if base.is_file() else {}, "run": run}


def _folder(workspace: Workspace, name: str) -> Path:
    return workspace.store.folder(f"preferences/{name}")


def _trained(workspace: Workspace) -> Path:
    return workspace.store.folder("model/checkpoint") / "checkpoint"


def _exercises(workspace: Workspace) -> Path:
    return _folder(workspace, "attempts") / f"{EXERCISES}.jsonl"


def _environment(workspace: Workspace) -> dict[str, str]:
    """Return the user's own benchmarks, and the exercises as one of them."""
    return {OWN_VARIABLE: os.pathsep.join(filter(None, [os.environ.get(OWN_VARIABLE), str(_exercises(workspace))]))}


ASSETS = [attempts, pairs, preferred]
