"""A recipe: everything that decides the result of a training run, as frozen values grouped by their owner.

Invariants: a recipe has only fields that its engine reads; field names are unique over the groups of a recipe, so that
the command line, the launchpad and JSON use flat names; equal recipes on equal packed rows give equal weights on the
same CPU, and the recipe's hash names the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, TypeVar, get_type_hints

from codeft_training.recipe_fields import field_names, parse_values, require_types
from codeft_training.recipe_groups import (
    DataConfig,
    FinetuningConfig,
    ModelShape,
    MonitorConfig,
    OptimizationConfig,
    PrecisionConfig,
    PretrainingConfig,
    RepetitionConfig,
    ScheduleConfig,
)
from codeft_training.recipe_stages import change_stages, make_stages

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The groups that both engines read; a recipe is one of the two kinds below."""

    name: str
    about: str
    data: DataConfig = field(default_factory=DataConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)

    PURPOSE: ClassVar[str]

    def __post_init__(self) -> None:
        require_types(self)

    def values(self) -> dict[str, Any]:
        """Return every field of every group by its flat name, as JSON holds it."""
        found = {name: getattr(group, name) for group in self._groups().values() for name in field_names(group)}
        return found | {"stages": [stage.values() for stage in self.schedule.stages]}

    @property
    def separates_documents(self) -> bool:
        """Whether a token sees no other document of its row."""
        return True

    @property
    def hash(self) -> str:
        """16 hex digits over every field; the recipe's name and the words about it are not part of the result."""
        return values_hash(self.values())

    def weight_values(self) -> dict[str, Any]:
        """Return the fields that decide the weights: the global batch, however it is divided, and no monitoring."""
        left_out = {"batch_rows", "accumulation_steps", *field_names(self.monitor)}
        kept = {name: value for name, value in self.values().items() if name not in left_out}
        return kept | {"rows_per_step": self.data.rows_per_step}

    def record(self) -> dict[str, Any]:
        """Return name, description and flat fields, as result files hold them; ``read_recipe`` reads it."""
        return {"name": self.name, "about": self.about, **self.values()}

    def override(self: AnyRecipe, **changes: Any) -> AnyRecipe:
        """Return the recipe with fields, named flat, replaced.

        Raises:
            ValueError: this kind of recipe has no such field, or a value breaks its group's rules.
        """
        self._require_fields(changes)
        chosen = {
            owner: {name: changes[name] for name in field_names(group) if name in changes}
            for owner, group in self._groups().items()
        }
        try:
            return replace(self, **{owner: replace(self._groups()[owner], **part) for owner, part in chosen.items()})
        except ValueError as error:
            raise ValueError(f"recipe {self.name!r}: {error}") from error

    def parse(self: AnyRecipe, overrides: Mapping[str, str]) -> AnyRecipe:
        """Return the recipe with fields replaced by values given as text; a stage's are named ``stage.field``.

        Raises:
            ValueError: as ``override``, or a text is not of its field's type.
        """
        in_stages = {name: text for name, text in overrides.items() if "." in name}
        overrides = {name: text for name, text in overrides.items() if name not in in_stages}
        self._require_fields(overrides)
        kinds = {entry.name: str(entry.type) for group in self._groups().values() for entry in fields(group)}
        try:
            values = parse_values(kinds, overrides)
            stages = change_stages(make_stages(values.get("stages", self.schedule.stages)), in_stages)
        except ValueError as error:
            raise ValueError(f"recipe {self.name!r}: {error}") from error
        return self.override(**(values | {"stages": stages}))

    def _require_fields(self, names: Mapping[str, Any]) -> None:
        known = set(self.values())
        for name in names:
            if name not in known:
                raise ValueError(
                    f"recipe {self.name!r} {self.PURPOSE} and has no field {name!r}; it has {sorted(known)}"
                )

    def _groups(self) -> dict[str, Any]:
        found = {owner.name: getattr(self, owner.name) for owner in fields(self)}
        return {owner: group for owner, group in found.items() if is_dataclass(group)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe(Recipe):
    """Trains a model from scratch by our own step loop."""

    model: ModelShape = field(default_factory=ModelShape)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    repetition: RepetitionConfig = field(default_factory=RepetitionConfig)

    PURPOSE: ClassVar[str] = "trains from scratch"

    def weight_values(self) -> dict[str, Any]:
        """Return the fields that decide the weights; dropout falls otherwise when a step is divided otherwise."""
        divided = {"batch_rows": self.data.batch_rows} if self.repetition.dropout else {}
        return Recipe.weight_values(self) | divided

    @property
    def separates_documents(self) -> bool:
        """Whether a token sees no other document of its row."""
        return self.pretraining.attention == "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRecipe(Recipe):
    """Trains a model of the Hub further by TRL's trainer, which never lets a document see another of its row."""

    finetuning: FinetuningConfig

    PURPOSE: ClassVar[str] = "fine-tunes a base model"


def values_hash(values: Mapping[str, Any]) -> str:
    """Return 16 hex digits over named values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


_WRITE_RECORD = "write it by Recipe.record"


def read_recipe(record: Mapping[str, Any]) -> Recipe:
    """Return the recipe of which ``record`` is the record.

    Raises:
        ValueError: a field is missing or unknown, or a value breaks its group's rules.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"the record of a recipe must have its fields by name, not be {record!r}; {_WRITE_RECORD}")
    kind = FinetuneRecipe if "base_model" in record else PretrainRecipe
    groups: dict[str, Any] = {owner: group for owner, group in get_type_hints(kind).items() if is_dataclass(group)}
    names = {owner: field_names(group) for owner, group in groups.items()}
    expected = {"name", "about"}.union(*names.values())
    missing, unknown = sorted(expected - set(record)), sorted(set(record) - expected)
    if missing or unknown:
        raise ValueError(
            f"the record of a recipe that {kind.PURPOSE} lacks {missing} and has the unknown fields {unknown}; "
            f"{_WRITE_RECORD}"
        )
    made = {owner: group(**{name: record[name] for name in names[owner]}) for owner, group in groups.items()}
    return kind(name=record["name"], about=record["about"], **made)
