"""A recipe of preference training: everything that decides its result besides the base model and the pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from codeft_training.recipe import values_hash
from codeft_training.recipe_fields import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    POSITIVE,
    SEED,
    Rule,
    check_fields,
    one_of,
    parse_values,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRecipe:
    """Flat fields; all but name and words decide the weights, or what is logged and saved of the run."""

    name: str
    about: str
    loss: str = "preference"
    """``preference``: DPO (arXiv 2305.18290). ``chosen``: the likelihood of the right completions alone, which is its
    control: as many steps on the same completions, without the wrong ones. ``anchored``: the sum of both (RPO, arXiv
    2404.19733), because DPO alone makes right completions less likely, too."""
    beta: float = 0.1
    """Of DPO: the higher, the nearer the model stays to its base."""
    learning_rate: float = 2e-6
    """At 2e-5 a model of 46 million parameters lost half of what it solved (docs/papers.md)."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    warmup_fraction: float = 0.1
    """Share of the steps in which the rate rises; over the others it falls to a twentieth."""
    pairs_per_step: int = 32
    batch_pairs: int = 16
    """Of a step, that are in memory at once."""
    passes: float = 1.0
    """Over the pairs."""
    context_tokens: int = 1024
    """Longer pairs are left out."""
    seed: int = 1
    """Of the order of pairs, and of the items whose pairs are held out."""
    bf16: bool = False
    """Compute in bfloat16 instead of float32."""
    log_every_steps: int = 5
    save_every_steps: int = 50

    RULES: ClassVar[Mapping[str, Rule]] = {
        "loss": one_of("preference", "chosen", "anchored"),
        "beta": POSITIVE,
        "learning_rate": POSITIVE,
        "weight_decay": AT_LEAST_0,
        "max_grad_norm": POSITIVE,
        "warmup_fraction": BELOW_1,
        "pairs_per_step": AT_LEAST_1,
        "batch_pairs": AT_LEAST_1,
        "passes": POSITIVE,
        "context_tokens": AT_LEAST_1,
        "seed": SEED,
        "log_every_steps": AT_LEAST_1,
        "save_every_steps": AT_LEAST_1,
    }
    MONITORING: ClassVar[tuple[str, ...]] = ("batch_pairs", "log_every_steps", "save_every_steps")

    def __post_init__(self) -> None:
        check_fields(self)

    def record(self) -> dict[str, Any]:
        """Return the fields, as result files hold them."""
        return asdict(self)

    def weight_values(self) -> dict[str, Any]:
        """Return the fields that decide the weights: no words, no monitoring, no division of a step."""
        left_out = {"name", "about", *self.MONITORING}
        return {name: value for name, value in self.record().items() if name not in left_out}

    @property
    def hash(self) -> str:
        """16 hex digits over the fields that decide the weights."""
        return values_hash(self.weight_values())

    def parse(self, overrides: Mapping[str, str]) -> PreferenceRecipe:
        """Return the recipe with fields replaced by values given as text.

        Raises:
            ValueError: there is no such field, or a value is not of its type or breaks its rule.
        """
        kinds = {entry.name: str(entry.type) for entry in fields(self) if entry.name not in {"name", "about"}}
        for name in overrides:
            if name not in kinds:
                raise ValueError(
                    f"recipe {self.name!r} trains on preferences and has no field {name!r}; it has {[*kinds]}"
                )
        try:
            values = parse_values(kinds, overrides)
        except ValueError as error:
            raise ValueError(f"recipe {self.name!r}: {error}") from error
        return replace(self, **values)


DPO = PreferenceRecipe(name="dpo", about="Direct preference optimization of a small model on its own judged attempts")
PREFERENCE_RECIPES = {
    recipe.name: recipe
    for recipe in (
        DPO,
        replace(DPO, name="dpo-anchored", about="dpo with the likelihood of the right completions", loss="anchored"),
        replace(
            DPO, name="chosen", about="The right completions alone, as many steps: the control of dpo", loss="chosen"
        ),
    )
}


def find_preference_recipe(name: str, overrides: Mapping[str, str]) -> PreferenceRecipe:
    """Return the recipe ``name`` with fields replaced by ``overrides`` given as text.

    Raises:
        ValueError: there is no such recipe or field, or a value is not of the field's type.
    """
    if name not in PREFERENCE_RECIPES:
        raise ValueError(f"recipe {name!r} trains on no preferences; choose one of {sorted(PREFERENCE_RECIPES)}")
    return PREFERENCE_RECIPES[name].parse(overrides)
