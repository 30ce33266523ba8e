"""Configurations as the launchpad shows them: choices as enums, and every rule of a number in its field's description.

Its editor checks a configuration while it is typed by names and types (Dagster 1.13: ``validate_config_from_snap`` on a
``ConfigTypeSnap``, which has no place for a range). So a range is shown there, and checked when the run starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import dagster as dg
from pydantic import BeforeValidator, Field, create_model

from codeft_assets.curation.documents import FORMATS
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from codeft_training.recipe_fields import describe_fields
from codeft_training.recipes import RECIPES

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_TYPES: Mapping[str, Any] = {
    "bool": bool,
    "float": float,
    "int": int,
    "str": str,
    "tuple[Stage, ...]": list[dict[str, Any]],
}
"""By the annotation of a recipe's field."""
_WORDS = frozenset({"name", "about"})
"""Fields that say what a recipe is, and decide nothing."""


def choice(name: str, values: Iterable[str]) -> Any:
    """Return an enum whose members are the texts themselves: the launchpad lists them and refuses others."""
    return StrEnum(name, {value: value for value in values})


class SaysBounds:
    """A configuration of which each field with bounds says them."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Write the bounds of each field into its description, which the editor shows."""
        super().__pydantic_init_subclass__(**kwargs)  # type: ignore[misc]
        for field in cls.model_fields.values():  # type: ignore[attr-defined]
            rule = bounds(field.metadata)
            if rule and not (field.description or "").endswith(rule):
                field.description = f"{field.description}. Must be {rule}"


def bounds(metadata: Iterable[Any]) -> str:
    """Return the bounds of a field in words, such as ``at least 0 and at most 1``; "" without any."""
    named = ((name, getattr(bound, name)) for bound in metadata for name in _BOUNDS if hasattr(bound, name))
    return " and ".join(f"{_BOUNDS[name]} {value}" for name, value in named)


class Overrides(dg.Config):
    """Fields of a recipe that a launch replaces; those that are null stay as they are."""

    def texts(self) -> dict[str, str]:
        """Return the fields that are set, as text: 300 is ``300``, true is ``true``, a list is JSON."""
        return override_texts(self.model_dump(mode="json", exclude_none=True))


def override_texts(overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a recipe as text, as ``Overrides.texts``."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in overrides.items()}


def overrides_of(name: str, groups: Mapping[type, str]) -> Any:
    """Return the type of overrides with all fields of the groups of a recipe, each with its type, choices and rule.

    The words of a group are added to each of its fields. A field of two groups is that of the first. The type is
    optional for the scaffold of all defaults, which leaves out an empty shape that is not; nobody gets a None.
    """
    found: dict[str, Any] = {}
    for group, words in groups.items():
        described = describe_fields(group)
        for entry in fields(group):
            rule = group.RULES.get(entry.name)  # type: ignore[attr-defined]
            kind = choice(f"{name}_{entry.name}", rule.choices) if rule and rule.choices else _TYPES[str(entry.type)]
            said = " ".join(filter(None, (described[entry.name], rule and f"Must be {rule.text}.", words)))
            found.setdefault(entry.name, (kind | None, Field(default=None, description=said)))
    shape = create_model(name, __base__=Overrides, **{name: found[name] for name in found if name not in _WORDS})
    return Annotated[shape | None, BeforeValidator(lambda given: shape() if given is None else given)]


def _groups() -> dict[type, str]:
    shared = get_type_hints(Recipe).values()
    kinds = {group: kind for kind in (PretrainRecipe, FinetuneRecipe) for group in get_type_hints(kind).values()}
    return {
        group: "" if group in shared else f"Of a recipe that {kind.PURPOSE}."
        for group, kind in kinds.items()
        if hasattr(group, "RULES")
    }


FormatName: Any = choice("FormatName", FORMATS)
RecipeName: Any = StrEnum("RecipeName", {"default": ""} | {name: name for name in sorted(RECIPES)})
"""``default`` is the workspace's recipe."""
RecipeOverrides: Any = overrides_of("RecipeOverrides", _groups())
