"""The resource of every asset: the data root, the profile and the number of processes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from pydantic import Field

from codeft_assets.origins import Origin, SampleOrigin
from codeft_assets.origins.sample import SAMPLES_FOLDER
from codeft_assets.source import Source
from codeft_assets.store.tables import Store
from codeft_training.recipe import Recipe
from codeft_training.recipes import find_recipe

PROFILES = ("sample", "full")


class Workspace(dg.ConfigurableResource):
    """The data root and the profile; empty fields are taken from the environment when a run starts."""

    root: str = Field(default="", description="Data root: a path or fsspec URL. Empty: $CODEFT_HOME, else .codeft")
    profile: str = Field(default="", description="sample or full. Empty: $CODEFT_PROFILE, else sample")
    samples: str = Field(default="", description="Folder of sample rows. Empty: the embedded samples")
    recipe: str = Field(default="", description="Where a launch names none. Empty: $CODEFT_RECIPE, else smoke")
    workers: int = Field(default=0, description="Processes a stage may use. 0: $CODEFT_WORKERS, else by profile")

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
        name = self.profile or os.environ.get("CODEFT_PROFILE") or "sample"
        if name not in PROFILES:
            raise ValueError(f"profile {name!r} is not one of {PROFILES}; set CODEFT_PROFILE to one of them")
        return name

    @property
    def recipe_name(self) -> str:
        """The recipe of tokenizer, packed rows and checkpoint where a launch, such as automation's, names none."""
        return self.recipe or os.environ.get("CODEFT_RECIPE") or "smoke"

    def chosen_recipe(self, name: str, overrides: Mapping[str, str]) -> Recipe:
        """Return the recipe of a launch; one that names none, such as automation's, takes the workspace's.

        The workspace's recipe comes with the fields in ``CODEFT_RECIPE_OVERRIDES``; those of the launch go first.

        Raises:
            ValueError: there is no such recipe or field, or a value is not of the field's type.
        """
        if name:
            return find_recipe(name, overrides)
        return find_recipe(self.recipe_name, _environment_overrides() | dict(overrides))

    @property
    def is_sample(self) -> bool:
        """True where nothing may touch the network."""
        return self.profile_name == "sample"

    @property
    def num_workers(self) -> int:
        """Processes a stage may use: one on the sample, where starting a second costs more than it saves."""
        configured = self.workers or int(os.environ.get("CODEFT_WORKERS") or 0)
        return configured or (1 if self.is_sample else os.cpu_count() or 1)

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
    return {name: str(value) for name, value in overrides.items()}
