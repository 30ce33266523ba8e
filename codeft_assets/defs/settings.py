"""Configurations of assets and ops: fields with their bounds, and what no bound of one field says."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from codeft_assets.defs.launchpad import RecipeName, RecipeOverrides, SaysBounds
from codeft_assets.defs.workspace import Workspace

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of any draw: scikit-learn takes no other."""


class Settings(SaysBounds, dg.Config):
    """The configuration of an asset or op."""

    def check(self, workspace: Workspace) -> None:
        """Check what no bound of one field says, before anything is computed.

        Raises:
            ValueError: a value is wrong; the message has value, rule and remedy.
        """


class RecipeSettings(Settings):
    """A recipe and its changed fields."""

    recipe: RecipeName = Field(  # type: ignore[valid-type]
        default=RecipeName.default, description="How to train which model. default: the workspace's recipe"
    )
    overrides: RecipeOverrides = Field(  # type: ignore[valid-type]
        default={},
        validate_default=True,
        description="Fields of the recipe to replace, for example max_steps: 300; null leaves a field as it is. "
        "Numbers stand without quotes, and 3e-3 as 0.003 or 3.0e-3",
    )

    def check(self, workspace: Workspace) -> None:
        """Check that the recipe can be made.

        Raises:
            ValueError: it cannot.
        """
        workspace.chosen_recipe(self.recipe.value, self.overrides.texts())
