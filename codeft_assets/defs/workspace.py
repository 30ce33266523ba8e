"""The resource of every asset: the data root, the profile and the number of processes."""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from codeft_assets.defs.environment import read_count
from codeft_assets.defs.failures import explained_failures
from codeft_assets.defs.launchpad import RecipeName, RecipeOverrides, SaysBounds, override_texts
from codeft_assets.defs.ray_programs import ProgramClient, RayProgramClient
from codeft_assets.origins import Origin, SampleOrigin
from codeft_assets.origins.sample import SAMPLES_FOLDER
from codeft_assets.source import Source
from codeft_assets.store.data_root import Store
from codeft_assets.store.executors import StartExecutor, find_executor
from codeft_training.recipe import Recipe
from codeft_training.recipes import find_recipe

PROFILES = ("sample", "full")
_UNSET_WORKERS = "one process on the sample, else one a core"
ProfileName: Any = StrEnum("ProfileName", {"default": ""} | {name: name for name in PROFILES})


class Workspace(SaysBounds, dg.ConfigurableResource):
    """The data root and the profile; empty fields are taken from the environment when a run starts."""

    root: str = Field(default="", description="Data root: a path or fsspec URL. Empty: $CODEFT_HOME, else .codeft")
    profile: ProfileName = Field(  # type: ignore[valid-type]
        default=ProfileName.default,
        description="Where rows come from, the samples or the Hub. default: $CODEFT_PROFILE, else sample",
    )
    samples: str = Field(default="", description="Folder of sample rows. Empty: the embedded samples")
    recipe: RecipeName = Field(  # type: ignore[valid-type]
        default=RecipeName.default,
        description="Of tokenizer, packed rows and checkpoint at once. default: $CODEFT_RECIPE, else smoke",
    )
    overrides: RecipeOverrides = Field(  # type: ignore[valid-type]
        default={}, validate_default=True, description="Fields of this recipe to replace, for example max_steps: 300"
    )
    workers: int = Field(default=0, ge=0, description="Processes a stage may use. 0: $CODEFT_WORKERS, else by profile")
    executor: str = Field(
        default="",
        description="local, processes, ray or ray://host:port. Empty: $CODEFT_EXECUTOR, else processes",
    )
    gpus: int = Field(
        default=0, ge=0, description="GPUs of a machine that training uses. 0: $CODEFT_GPUS, else one if there is any"
    )
    nodes: int = Field(
        default=0,
        ge=0,
        description="Nodes of the Ray cluster that training uses, on each so many GPUs. 0: $CODEFT_NODES, else one",
    )

    def check(self) -> None:
        """Check every field, and every variable that stands for one, before anything is computed.

        Raises:
            ValueError: one is wrong; the message has value, rule and remedy.
        """
        _ = self.profile_name, self.num_gpus, self.start_executor, self.chosen_recipe("", {})

    @property
    def store(self) -> Store:
        """The tables and files under the data root."""
        return Store(self.root or os.environ.get("CODEFT_HOME") or str(Path(".codeft").absolute()))

    @property
    def profile_name(self) -> str:
        """``sample`` or ``full``.

        Raises:
            ValueError: it is neither.
        """
        name = self.profile.value or os.environ.get("CODEFT_PROFILE") or "sample"
        if name not in PROFILES:
            raise ValueError(f"profile {name!r} is not one of {PROFILES}; set CODEFT_PROFILE to one of them")
        return name

    def chosen_recipe(self, name: str, overrides: Mapping[str, str]) -> Recipe:
        """Return the recipe of an asset; without a name, as under automation, it is the workspace's.

        Whoever names the recipe names the fields that differ: the asset, the workspace, or the environment by
        ``CODEFT_RECIPE`` and ``CODEFT_RECIPE_OVERRIDES``. Fields of the asset replace those of the workspace.

        Raises:
            ValueError: there is no such recipe or field, or a value is not of the field's type.
        """
        with explained_failures():
            if name:
                return find_recipe(name, overrides)
            chosen = self.overrides.texts() | dict(overrides)
            if self.recipe.value:
                return find_recipe(self.recipe.value, chosen)
            named = os.environ.get("CODEFT_RECIPE") or "smoke"
            from_outside = _environment_overrides()
            try:
                return find_recipe(named, from_outside | chosen)
            except ValueError as error:
                if not from_outside:
                    raise
                raise ValueError(f"{error} (CODEFT_RECIPE_OVERRIDES, which is overrides in a codeft.toml)") from error

    @property
    def is_sample(self) -> bool:
        """True where nothing may touch the network."""
        return self.profile_name == "sample"

    @property
    def num_workers(self) -> int:
        """Processes a stage may use: one on the sample, where starting a second costs more than it saves.

        Raises:
            ValueError: ``CODEFT_WORKERS`` is no whole number.
        """
        configured = self.workers or read_count("CODEFT_WORKERS", 0, unset=_UNSET_WORKERS)
        return configured or (1 if self.is_sample else os.cpu_count() or 1)

    @property
    def start_executor(self) -> StartExecutor:
        """Where the units of a stage run.

        Raises:
            ValueError: there is no executor of the configured name.
        """
        return find_executor(self._executor_name, self.num_workers)

    @property
    def num_gpus(self) -> int | None:
        """GPUs that training uses; None: one where there is any.

        Raises:
            ValueError: ``CODEFT_GPUS`` is no whole number.
        """
        return self.gpus or read_count("CODEFT_GPUS", 0, unset="one GPU where there is any") or None

    @property
    def num_nodes(self) -> int:
        """Nodes of the Ray cluster that training uses.

        Raises:
            ValueError: ``CODEFT_NODES`` is no whole number, or there are several and the executor is not ``ray``.
        """
        num_nodes = self.nodes or read_count("CODEFT_NODES", 0, unset="one node") or 1
        if num_nodes > 1 and self._executor_name != "ray":
            raise ValueError(
                f"training on {num_nodes} nodes needs the executor ray, not {self._executor_name!r}; set "
                f"CODEFT_EXECUTOR=ray and RAY_ADDRESS, or nodes to 1"
            )
        return num_nodes

    def program_client(
        self, local: dg.PipesSubprocessClient, num_gpus: int | None = None, num_nodes: int = 1
    ) -> ProgramClient:
        """Return what runs the programs that use a GPU: the Ray cluster that runs the units, else ``local``.

        Through ``ray://`` a program runs here: Ray's client streams no messages.
        """
        if self._executor_name != "ray":
            return local
        root, workers = self.store.root, self.num_workers
        return RayProgramClient(workers=workers, root=root, num_gpus=num_gpus, num_nodes=num_nodes)

    @property
    def _executor_name(self) -> str:
        return self.executor or os.environ.get("CODEFT_EXECUTOR") or "processes"

    def origin(self, source: Source) -> Origin:
        """Return where the rows of ``source`` come from under this profile."""
        if not self.is_sample:
            return source.origin
        if source.sample_origin is not None or not source.has_sample:
            return source.sample_origin or source.origin
        return SampleOrigin(name=source.name, folder=self.samples or str(SAMPLES_FOLDER))


def _environment_overrides() -> dict[str, str]:
    text = os.environ.get("CODEFT_RECIPE_OVERRIDES") or "{}"
    rule = """must be JSON such as {"max_steps": "300"}"""
    try:
        overrides = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"CODEFT_RECIPE_OVERRIDES {text!r} {rule}: {error}") from error
    if not isinstance(overrides, dict):
        raise ValueError(f"CODEFT_RECIPE_OVERRIDES {text!r} {rule}")
    return override_texts(overrides)
