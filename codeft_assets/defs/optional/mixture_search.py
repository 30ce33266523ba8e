"""The search of a mixture by short runs, made when it is asked for."""

import json
import sys

import dagster as dg
from pydantic import Field

from codeft_assets.defs.assets.corpus import mixture
from codeft_assets.defs.assets.mixture_plan import SEARCH
from codeft_assets.defs.assets.model import tokenizer
from codeft_assets.defs.run_stage import GPU_POOL, OWNERS, program_result
from codeft_assets.defs.settings import RecipeSettings, Seed
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.code_version import code_version_of
from codeft_training.measure.mixture_regression import MIN_RUNS


class SearchConfig(RecipeSettings):
    """The runs of a search, each of the recipe and from scratch (a small model, few steps), and their target."""

    runs: int = Field(default=24, ge=MIN_RUNS, description="Drawn mixtures, each a run of the recipe")
    target: str = Field(
        default="bits_per_byte",
        description="Measurement of held-out documents to make small, for example bits_per_byte_code",
    )
    seed: Seed = Field(default=1, description="Of the drawn mixtures")


@dg.asset(
    key=["corpus", "mixture_search"],
    deps=[mixture, tokenizer],
    group_name="corpus",
    kinds={"pytorch", "scikitlearn"},
    owners=OWNERS,
    pool=GPU_POOL,
    code_version=code_version_of("codeft_training.commands:search_mixture"),
)
def mixture_search(
    context: dg.AssetExecutionContext, config: SearchConfig, workspace: Workspace, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """One row is a short run of a small model on a drawn mixture of the sources, with its held-out bits per byte.

    As in RegMix: a regression of the loss on the mixture finds the best one, which is then run itself beside the
    corpus's own. The plan of the mixture adopts it where ``searched_mixture`` is set and a token budget makes it
    choose; an arrow from here to the plan would be a circle, so the plan is made again by hand.
    """
    store = workspace.store
    recipe = workspace.chosen_recipe(config.recipe.value, config.overrides.texts())
    command = [sys.executable, "-m", "codeft_training", "search-mixture", "--recipe-json", json.dumps(recipe.record())]
    command += ["--corpus", store.table("corpus/mixture").path(), "--output", str(store.folder(SEARCH))]
    command += ["--tokenizer", str(store.folder("model/tokenizer"))]
    command += ["--runs", str(config.runs), "--target", config.target, "--seed", str(config.seed)]
    return program_result(context, pipes, command)


ASSETS = [mixture_search]
